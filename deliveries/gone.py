"""When to look for deliveries that were answered 410 Gone, and how far back.

Deliverers record the answer and no more. What follows from it is found in the ledger by the apps above.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from commands_platform.lib import clock

_USUALLY = timedelta(minutes=2)
# Now and then a look goes further back: for rows that somebody held, and after an outage of the housekeeping.
_AT_MOST = timedelta(days=1)
_FAR_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class Lookback:
    """The walk of one process over the latest answers."""

    _next_far_at: float = 0.0

    def since(self) -> datetime:
        """Returns the instant from which on the next look reads."""
        is_far = time.monotonic() >= self._next_far_at
        if is_far:
            self._next_far_at = time.monotonic() + _FAR_EVERY_SECONDS
        return clock.now() - (_AT_MOST if is_far else _USUALLY)
