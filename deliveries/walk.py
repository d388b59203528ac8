"""Walks over the lanes that have pending deliveries, taking organizations in turn."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import zip_longest

from commands_platform.lib.database.availability import unless_away
from deliveries import queue
from deliveries.lanes import Lane
from deliveries.queue import WaitingLanes

_LANES_AT_ONCE = 200


class LaneWalk:
    """Reads the lanes in portions, because there may be very many.

    Each portion has lanes of every organization. An organization with many lanes goes on where its last portion ended,
    while those with few lanes begin again. So however many lanes one of them has, the lanes of the others are found in
    each portion. The walk is over when every organization was read to its end.
    """

    def __init__(self) -> None:
        self._found: deque[Lane] = deque()
        # For each organization that may have more lanes, the origin that was read last.
        self._unread: dict[int, str] = {}
        # Those that were read to their end.
        self._done: set[int] = set()
        # With very many organizations, a portion has only the next ones of them.
        self._last_organization = 0
        self._is_begun = False

    @property
    def is_under_way(self) -> bool:
        return bool(self._found) or self._is_begun

    def begin(self) -> int:
        """Begins a walk and reads its first portion. Returns the number of organizations in it."""
        self.end()
        self._is_begun = True
        return self._read()

    def end(self) -> None:
        """Ends the walk early."""
        self._found.clear()
        self._unread.clear()
        self._done.clear()
        self._last_organization = 0
        self._is_begun = False

    def read_on(self) -> None:
        """Reads the next portion, unless lanes of the last one are left."""
        if self._is_begun and not self._found:
            self._read()

    def next_lane(self) -> Lane | None:
        """Returns the next lane, or None at the end of the portion."""
        return self._found.popleft() if self._found else None

    def put_back(self, lanes: list[Lane]) -> None:
        """Makes these lanes, which were just returned, the next ones again."""
        self._found.extendleft(reversed(lanes))

    def _read(self) -> int:
        look = partial(
            queue.waiting_lanes,
            limit=_LANES_AT_ONCE,
            after_organization=self._last_organization,
            after_origins=self._unread,
        )
        found = unless_away(look, otherwise=WaitingLanes([], [], [], {}))
        due = _by_organization(found.due).values()
        self._found.extend(lane for turn in zip_longest(*due) for lane in turn if lane is not None)
        is_last = len(found.organizations) < _LANES_AT_ONCE
        for organization in list(self._unread):
            # It was read again, or it has nothing pending any more.
            if organization > self._last_organization and (is_last or organization <= found.organizations[-1]):
                del self._unread[organization]
        self._unread |= found.unread
        self._done.update(organization for organization in found.organizations if organization not in found.unread)
        self._last_organization = 0 if is_last else found.organizations[-1]
        if is_last and self._unread.keys() <= self._done:
            self._is_begun = False
            self._unread.clear()
            self._done.clear()
        return len(found.organizations)


def _by_organization(lanes: list[Lane]) -> dict[int, list[Lane]]:
    grouped: dict[int, list[Lane]] = {}
    for lane in lanes:
        grouped.setdefault(lane.organization_id, []).append(lane)
    return grouped
