"""Keeps the claims of deliveries that may have killed their senders, and says which of them may be sent.

When a sender dies, every delivery that it held may be the cause. The more often one was lost with its sender, the fewer
of its kind are sent at a time. Those that were lost least often come first, so one that kills its senders comes last.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from uuid import UUID

from deliveries.lanes import Lane, Lanes
from deliveries.queue import Claim

# The limits on requests in flight of deliveries that were lost once, twice, and more often.
MAX_SUSPECTS_IN_FLIGHT = (25, 5, 1)
# Suspects must not fill the claims, so that the others get their turn.
_MAX_SUSPECTS_WAITING = 50


class Suspects:
    """The suspects that a sender has claimed and not sent yet."""

    def __init__(self, lanes: Lanes, *, lease: timedelta) -> None:
        self._lanes = lanes
        # If a lease ended here, its delivery would count as lost once more.
        self._patience = lease.total_seconds() / 2
        self._waiting: list[Claim] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_place(self) -> bool:
        """Returns whether more of them may be claimed."""
        return len(self._waiting) < _MAX_SUSPECTS_WAITING

    def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Keeps the suspects among these claims. Returns the others."""
        if not any(claim.is_suspect for claim in claims):
            return claims
        self._waiting += [claim for claim in claims if claim.is_suspect]
        return [claim for claim in claims if not claim.is_suspect]

    def take_out(self, ids: Collection[UUID]) -> list[Claim]:
        """Returns and forgets those of these deliveries."""
        taken = [claim for claim in self._waiting if claim.id in ids]
        self._waiting = [claim for claim in self._waiting if claim.id not in ids]
        return taken

    def next_claims(self, in_flight: Iterable[Claim | None]) -> Iterator[Claim]:
        """Yields those that may begin now, beside those in flight. The caller begins or ends each at once."""
        levels = Counter(_level_of(claim) for claim in in_flight if claim and claim.is_suspect)
        random.shuffle(self._waiting)
        for claim in sorted(self._waiting, key=_level_of):
            level = _level_of(claim)
            if not self._lanes.room(claim.lane):
                continue
            if levels[level] >= MAX_SUSPECTS_IN_FLIGHT[level]:
                return
            self._waiting.remove(claim)
            levels[level] += 1
            yield claim

    def give_up(self, *, paused: Collection[Lane] | None = None) -> list[Claim]:
        """Returns all of them and forgets them. With `paused`, only those of these lanes and those that waited long."""
        oldest = time.monotonic() - self._patience
        left = [each for each in self._waiting if paused is None or each.lane in paused or each.held_since < oldest]
        self._waiting = [claim for claim in self._waiting if claim not in left]
        return left


def _level_of(claim: Claim) -> int:
    """Returns the place of its limit in MAX_SUSPECTS_IN_FLIGHT."""
    return min(claim.lost, len(MAX_SUSPECTS_IN_FLIGHT)) - 1
