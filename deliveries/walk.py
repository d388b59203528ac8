"""Walks over the lanes that have pending deliveries, taking organizations in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

from commands_platform.lib.database.availability import unless_away
from deliveries import queue
from deliveries.lanes import Lane
from deliveries.queue import WaitingLanes

_LANES_AT_ONCE = 500


class LaneWalk:
    """One walk after the other. Each finds the lanes in portions, because there may be very many."""

    def __init__(self) -> None:
        self._found: deque[Lane] = deque()
        # For each organization that may have more lanes, the origin that was found last.
        self._reached: dict[int, str] = {}
        self._last_organization: int | None = None

    @property
    def is_under_way(self) -> bool:
        return bool(self._found or self._reached or self._last_organization is not None)

    def begin(self) -> int:
        """Begins a walk. Returns the number of organizations that it has found so far."""
        self.end()
        self._last_organization = 0
        return self._find_organizations()

    def end(self) -> None:
        """Ends the walk early."""
        self._found.clear()
        self._reached.clear()
        self._last_organization = None

    def next_lane(self) -> Lane | None:
        """Returns the next lane, or None at the end of the walk."""
        while not self._found:
            if self._reached:
                self._find_more_lanes()
            elif self._last_organization is not None:
                self._find_organizations()
            else:
                return None
        return self._found.popleft()

    def put_back(self, lanes: Sequence[Lane]) -> None:
        """Makes these lanes, which were just returned, the next ones again."""
        self._found.extendleft(reversed(lanes))

    def _find_organizations(self) -> int:
        look = partial(queue.waiting_lanes, limit=_LANES_AT_ONCE, after=self._last_organization or 0)
        found = unless_away(look, otherwise=WaitingLanes([], [], 1))
        organizations = found.organizations
        self._last_organization = organizations[-1] if len(organizations) == _LANES_AT_ONCE else None
        self._take(found)
        return len(organizations)

    def _find_more_lanes(self) -> None:
        most = max(1, _LANES_AT_ONCE // len(self._reached))
        look = partial(queue.more_waiting_lanes, after=self._reached, most=most)
        self._take(unless_away(look, otherwise=WaitingLanes([], [], most)))

    def _take(self, found: WaitingLanes) -> None:
        """Takes one lane of each organization in turn. Lanes in which nothing is due are left out."""
        due = _by_organization(found.due).values()
        self._found.extend(lane for turn in zip_longest(*due) for lane in turn if lane is not None)
        self._reached = {
            organization: lanes[-1].origin
            for organization, lanes in _by_organization(found.lanes).items()
            if len(lanes) >= found.most
        }


def _by_organization(lanes: Sequence[Lane]) -> dict[int, list[Lane]]:
    grouped: dict[int, list[Lane]] = {}
    for lane in lanes:
        grouped.setdefault(lane.organization_id, []).append(lane)
    return grouped
