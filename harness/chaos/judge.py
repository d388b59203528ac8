"""The verdict on a run: compares the expected slots with the ledger and with the requests that the receiver got.

It is pure and uses none of the platform's code. The slots of a schedule are its first one and whole periods after it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from harness.chaos.receiver import Arrival

_MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Load:
    """One schedule of the load: its first slot, its period, and the instant after which it has none.

    If `is_poison`, each of its callbacks kills the deliverer that sends it.
    """

    uuid: UUID
    first: datetime
    period: timedelta
    end: datetime
    is_poison: bool = False

    def slots(self) -> Iterator[datetime]:
        for number in range((self.end - self.first) // self.period + 1):
            yield self.first + number * self.period


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ledger. `errors` has the numbers of the attempts that are recorded as failed."""

    id: UUID
    schedule: UUID
    due_at: datetime
    last_due_at: datetime | None
    slot_count: int
    state: str
    reason: str
    errors: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A fault that explains duplicates. Times are in seconds of this machine's clock.

    An attempt that arrived between `begin` and `end` may be repeated. An attempt that was already repeated by another
    process may still arrive between `late_begin` and `late_end`.
    """

    what: str
    begin: float
    end: float
    late_begin: float = 0.0
    late_end: float = 0.0

    def explains(self, earlier: Arrival, later: Arrival) -> bool:
        return self.begin <= earlier.at <= self.end or self.late_begin <= later.at <= self.late_end


@dataclass(slots=True)
class ChaosVerdict:
    """Counts of slots and requests, with a few examples of each mistake."""

    slots: int = 0
    delivered: int = 0
    missed: int = 0
    lost: int = 0
    twice: int = 0
    invented: int = 0
    poisoned: int = 0
    failed: int = 0
    unfinished: int = 0
    requests: int = 0
    retries: int = 0
    duplicates: int = 0
    duplicates_unexplained: int = 0
    duplicates_by_cause: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_good(self) -> bool:
        wrong = self.lost, self.twice, self.invented, self.failed, self.unfinished, self.duplicates_unexplained
        return self.slots > 0 and not any(wrong)

    def as_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"good": self.is_good}

    def note(self, kind: str, *facts: object) -> None:
        if len(self.examples[kind]) < _MAX_EXAMPLES:
            self.examples[kind].append(" ".join(map(str, facts)))


def judge(
    loads: Sequence[Load], rows: Iterable[Row], arrivals: Iterable[Arrival], disturbances: Sequence[Disturbance]
) -> ChaosVerdict:
    """Checks that each slot has one row and one webhook-id, and that deliveries recorded as delivered have arrived."""
    verdict = ChaosVerdict()
    by_schedule: dict[UUID, list[Row]] = defaultdict(list)
    by_id: dict[UUID, Row] = {}
    for row in rows:
        by_schedule[row.schedule].append(row)
        by_id[row.id] = row
    requests: dict[UUID, list[Arrival]] = defaultdict(list)
    ids_of_slots: dict[tuple[UUID, datetime], set[UUID]] = defaultdict(set)
    for arrival in arrivals:
        verdict.requests += 1
        requests[arrival.webhook_id].append(arrival)
        ids_of_slots[arrival.schedule, arrival.due_at].add(arrival.webhook_id)
        row_sent = by_id.get(arrival.webhook_id)
        if row_sent is None or (row_sent.schedule, row_sent.due_at) != (arrival.schedule, arrival.due_at):
            verdict.invented += 1
            verdict.note("invented", "request", arrival)
    for load in loads:
        _judge_schedule(verdict, load, by_schedule.pop(load.uuid, []), requests)
    for stray in by_schedule.values():
        verdict.invented += len(stray)
        verdict.note("invented", "rows of", stray[0].schedule)
    for slot, ids in ids_of_slots.items():
        if len(ids) > 1:
            verdict.twice += 1
            verdict.note("twice", *slot, "ids", *ids)
    _judge_duplicates(verdict, requests, by_id, disturbances)
    return verdict


def _judge_schedule(
    verdict: ChaosVerdict, load: Load, rows: Sequence[Row], requests: Mapping[UUID, Sequence[Arrival]]
) -> None:
    expected = list(load.slots())
    verdict.slots += len(expected)
    told = dict.fromkeys(expected, 0)
    for row in rows:
        covered = _covered(row, load)
        if len(covered) != row.slot_count or any(slot not in told for slot in covered):
            verdict.invented += 1
            verdict.note("invented", "row", row, "covers", len(covered))
        for slot in covered:
            if slot in told:
                told[slot] += 1
        if load.is_poison and row.reason == "poison":
            verdict.poisoned += 1
        else:
            _judge_row(verdict, row, has_arrived=row.id in requests)
    for slot, times in told.items():
        if times == 0:
            verdict.lost += 1
            verdict.note("lost", load.uuid, slot)
        elif times > 1:
            verdict.twice += 1
            verdict.note("twice", load.uuid, slot, "rows", times)


def _judge_row(verdict: ChaosVerdict, row: Row, *, has_arrived: bool) -> None:
    if row.state == "delivered":
        verdict.delivered += 1
        if not has_arrived:
            verdict.lost += 1
            verdict.note("lost", "said to be delivered", row)
    elif row.state == "skipped" and row.reason == "missed":
        verdict.missed += row.slot_count
        if has_arrived:
            verdict.invented += 1
            verdict.note("invented", "said to be missed", row)
    elif row.state == "pending":
        verdict.unfinished += 1
        verdict.note("unfinished", row)
    else:
        verdict.failed += row.slot_count
        verdict.note("failed", row)


def _covered(row: Row, load: Load) -> list[datetime]:
    """Returns the slots that a row accounts for: its own, or a range of skipped ones."""
    if row.last_due_at is None:
        return [row.due_at]
    return [row.due_at + number * load.period for number in range((row.last_due_at - row.due_at) // load.period + 1)]


def _judge_duplicates(
    verdict: ChaosVerdict,
    requests: Mapping[UUID, Sequence[Arrival]],
    rows: Mapping[UUID, Row],
    disturbances: Sequence[Disturbance],
) -> None:
    """Counts repeated requests. A repetition is a retry if the earlier failure is recorded, or else a duplicate."""
    for webhook_id, arrivals in requests.items():
        for earlier, later in pairwise(sorted(arrivals, key=lambda arrival: arrival.at)):
            row = rows.get(webhook_id)
            if row is not None and earlier.attempt in row.errors:
                verdict.retries += 1
                continue
            verdict.duplicates += 1
            causes = [each.what for each in disturbances if each.explains(earlier, later)]
            if causes:
                verdict.duplicates_by_cause[causes[-1]] += 1
            else:
                verdict.duplicates_unexplained += 1
                verdict.note("duplicates_unexplained", earlier, "then", later.at, "attempt", later.attempt)
