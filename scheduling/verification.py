"""Compares the ledger with the rules: the slots that a schedule should have had, with the rows that it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings

from commands_platform.lib import clock
from deliveries.models import Delivery, DeliveryQuerySet, Kind
from scheduling.models import DeactivationReason, ScheduledExecution
from scheduling.recurrence import Recurrence, missed, next_slot

_MOMENT = timedelta(microseconds=1)
_ROWS_READ_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Difference:
    """`count` slots from `first` to `last` that the ledger lacks, should not have, or has more than once."""

    kind: Literal["missing", "unexpected", "duplicate"]
    first: datetime
    last: datetime
    count: int


@dataclass(frozen=True, slots=True)
class _LedgerSpan:
    first: datetime
    last: datetime
    count: int


@dataclass(slots=True)
class Verification:
    """Walks over one schedule's rows and slots side by side, without keeping them. `slots` counts the slots compared.

    It compares slots since the current timing began, as far back as the ledger's retention reaches and up to the
    schedule's next run. Manual runs are not slots. Several skipped slots in one row are compared by the row's ends and
    count, without a walk over them.
    """

    schedule: ScheduledExecution
    since: datetime | None = None
    until: datetime | None = None
    slots: int = 0

    def differences(self) -> Iterator[Difference]:
        """Yields each difference, in order. Raises InvalidInputError if the slots can no longer be computed."""
        span = self._span()
        if span is None:
            return
        start, end = span
        recurrence = self.schedule.recurrence
        covered = self._covered_before(start)
        for row in self._rows(start, end):
            if row.first <= covered:
                yield Difference("duplicate", row.first, row.last, row.count)
                continue
            expected = next_slot(recurrence, after=covered)
            if expected is not None and expected < row.first:
                yield self._missing(recurrence, expected, row.first - _MOMENT)
                expected = next_slot(recurrence, after=row.first - _MOMENT)
            yield from self._compare(recurrence, expected, row)
            covered = row.last
        expected = next_slot(recurrence, after=covered)
        if expected is not None and expected < end:
            yield self._missing(recurrence, expected, end - _MOMENT)

    def _compare(self, recurrence: Recurrence, expected: datetime | None, row: _LedgerSpan) -> Iterator[Difference]:
        self.slots += row.count
        if expected is None or expected > row.last:
            yield Difference("unexpected", row.first, row.last, row.count)
            return
        if row.first == row.last and expected == row.first:
            return
        passed = missed(recurrence, first=expected, now=row.last)
        surplus = row.count - (passed.earlier_count + 1)
        if surplus > 0:
            yield Difference("unexpected", row.first, row.last, surplus)
        elif surplus < 0:
            yield Difference("missing", row.first, row.last, -surplus)
        elif (expected, passed.latest) != (row.first, row.last):
            yield Difference("unexpected", row.first, row.last, row.count)

    def _missing(self, recurrence: Recurrence, first: datetime, until: datetime) -> Difference:
        passed = missed(recurrence, first=first, now=until)
        self.slots += passed.earlier_count + 1
        return Difference("missing", first, passed.latest, passed.earlier_count + 1)

    def _span(self) -> tuple[datetime, datetime] | None:
        """Returns the span in which every slot must be in the ledger, without its end. None if it is empty."""
        schedule, now = self.schedule, clock.now()
        start = self._beginning(now)
        if schedule.next_run_at is not None:
            # A next run that is already due is late, not missing, because the dispatcher has not reached it yet.
            end = schedule.next_run_at
        elif schedule.deactivation_reason == DeactivationReason.INVALID or schedule.repeats == 0:
            # Such a schedule ends with its last slot.
            end = self._last_slot() + _MOMENT
        else:
            end = now if schedule.ends_at is None else min(now, schedule.ends_at) + _MOMENT
        if self.until is not None:
            end = min(end, self.until)
        if self.since is not None:
            start = max(start, self.since)
        start = max(start, self._remembered_since(now))
        return (start, end) if start < end else None

    def _beginning(self, now: datetime) -> datetime:
        schedule = self.schedule
        if not schedule.is_recurring:
            return schedule.anchor_at
        # A slot at the very instant at which a timing begins belongs to the timing before.
        began = schedule.effective_from + _MOMENT
        return began if schedule.starts_at is None else max(began, min(schedule.starts_at, now))

    def _remembered_since(self, now: datetime) -> datetime:
        """Returns the time since which retention has removed nothing."""
        remembered = now - settings.LEDGER_KEEP_FINISHED
        newest = Delivery.objects.of_source(self.schedule.uuid).order_by("-due_at").values_list("due_at", flat=True)
        kept = newest[settings.LEDGER_KEEP_PER_SCHEDULE : settings.LEDGER_KEEP_PER_SCHEDULE + 1]
        for oldest in kept:
            # A row of skipped slots that reaches beyond it may have been removed, but not the row of a later slot.
            after = self._scheduled().filter(due_at__gte=oldest).values_list("due_at", flat=True).first()
            remembered = max(remembered, oldest, after or oldest)
        return remembered

    def _last_slot(self) -> datetime:
        row = self._scheduled().values_list("due_at", "last_due_at").last()
        return self.schedule.effective_from if row is None else max(filter(None, row))

    def _rows(self, start: datetime, end: datetime) -> Iterator[_LedgerSpan]:
        rows = self._scheduled().filter(due_at__gte=start, due_at__lt=end)
        for first, last, count in rows.values_list("due_at", "last_due_at", "slot_count").iterator(_ROWS_READ_AT_ONCE):
            yield _LedgerSpan(first, last or first, count)

    def _covered_before(self, start: datetime) -> datetime:
        """Returns the time up to which slots are accounted for. A row of skipped slots may reach into the span."""
        last = self._scheduled().filter(due_at__lt=start).values_list("last_due_at", flat=True).last()
        return start - _MOMENT if last is None else max(last, start - _MOMENT)

    def _scheduled(self) -> DeliveryQuerySet:
        return self.schedule.slots().filter(kind=Kind.SCHEDULED)
