"""Walks over the lanes that have pending deliveries, taking organizations in turn."""

from __future__ import annotations

from collections import deque
from itertools import zip_longest

from commands_platform.lib.database.availability import unless_away
from deliveries import queue
from deliveries.lanes import Lane

_LANES_AT_ONCE = 500
_ORGANIZATIONS_AT_ONCE = 500


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
        """Begins a walk. Returns the number of organizations that have pending deliveries, as far as it knows."""
        self._found.clear()
        self._reached.clear()
        self._last_organization = 0
        self._find_organizations()
        return len(self._reached)

    def end(self) -> None:
        """Ends the walk early."""
        self._found.clear()
        self._reached.clear()
        self._last_organization = None

    def next_lane(self) -> Lane | None:
        """Returns the next lane, or None at the end of the walk."""
        while not self._found:
            if not self._reached:
                if self._last_organization is None:
                    return None
                self._find_organizations()
                continue
            self._find_lanes()
        return self._found.popleft()

    def put_back(self, lanes: list[Lane]) -> None:
        """Makes these lanes, which were just returned, the next ones again."""
        self._found.extendleft(reversed(lanes))

    def _find_organizations(self) -> None:
        after = self._last_organization or 0
        nothing: list[int] = []
        look = lambda: queue.waiting_organizations(after=after, limit=_ORGANIZATIONS_AT_ONCE)  # noqa: E731
        found = unless_away(look, otherwise=nothing)
        self._reached = dict.fromkeys(found, "")
        self._last_organization = found[-1] if len(found) == _ORGANIZATIONS_AT_ONCE else None

    def _find_lanes(self) -> None:
        most = max(1, _LANES_AT_ONCE // len(self._reached))
        nothing: list[Lane] = []
        found = unless_away(lambda: queue.waiting_lanes(after=self._reached, most=most), otherwise=nothing)
        by_organization: dict[int, list[Lane]] = {}
        for lane in found:
            by_organization.setdefault(lane.organization_id, []).append(lane)
        self._found.extend(lane for turn in zip_longest(*by_organization.values()) for lane in turn if lane is not None)
        self._reached = {
            organization: lanes[-1].origin for organization, lanes in by_organization.items() if len(lanes) == most
        }
