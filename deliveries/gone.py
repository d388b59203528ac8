"""Decides how far back to look for deliveries that were answered 410 Gone.

Deliverers only record the answer. The apps above find it in the ledger and act on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from commands_platform.lib import clock

_USUALLY = timedelta(minutes=2)
# Once a minute a look goes further back, to find rows that were locked before, or that came while housekeeping was
# down.
_AT_MOST = timedelta(days=1)
_FAR_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class Lookback:
    """How far back one process looks, and when it last looked further."""

    _next_far_at: float = 0.0

    def since(self) -> datetime:
        """Returns the instant from which the next look reads."""
        is_far = time.monotonic() >= self._next_far_at
        if is_far:
            self._next_far_at = time.monotonic() + _FAR_EVERY_SECONDS
        return clock.now() - (_AT_MOST if is_far else _USUALLY)
