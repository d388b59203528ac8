"""Reads what the answers of several schedules need with one statement each."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import OuterRef, Subquery

from commands_platform.lib import clock
from deliveries.models import Delivery
from scheduling.calendars import ExclusionsOf
from scheduling.models import ScheduledExecution


def prefetch_excluded_days(schedules: Sequence[ScheduledExecution]) -> None:
    """Sets `excluded_days` of all these schedules with one statement at most."""
    exclusions = ExclusionsOf(schedules)
    for schedule in schedules:
        schedule.excluded_days = exclusions.days_of(schedule)


def prefetch_last_deliveries(schedules: Sequence[ScheduledExecution]) -> None:
    """Sets `last_delivery` of all these schedules with one statement, without its body, headers and attempts.

    It is the ledger row of the latest slot. A row that was written ahead does not count before its time.
    """
    now = clock.now()
    latest = Delivery.objects.filter(source_uuid=OuterRef("uuid"), due_at__lte=now).order_by("-due_at").values("pk")[:1]
    of_these = ScheduledExecution.objects.filter(pk__in=[schedule.pk for schedule in schedules]).order_by()
    rows = Delivery.objects.filter(pk__in=of_these.values(latest=Subquery(latest))).defer("attempts", "body", "headers")
    by_source = {row.source_uuid: row for row in rows}
    for schedule in schedules:
        schedule.last_delivery = by_source.get(schedule.uuid)
