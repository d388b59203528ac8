"""Named calendars: the days on which the schedules of an organization do not run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar, Protocol

import orjson
from django.db import models

from audit.kinds import ObjectKind
from commands_platform.lib import clock
from organizations.models import Organization
from scheduling.excluded_days import DaySpan, ExcludedDays, is_calendar_name, read_dates, union_of_days

MAX_DATES = 5000


class Calendar(models.Model):
    """A set of days with a name, which schedules name in `except`."""

    audited_as = ObjectKind.CALENDAR
    not_audited: ClassVar[frozenset[str]] = frozenset()

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="calendars", db_index=False)
    name = models.CharField(max_length=64)
    dates = models.TextField(help_text="A JSON array of dates, and of spans such as 2026-12-24/2026-12-26.")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="scheduling_calendar_name")]

    def __str__(self) -> str:
        return self.name


class WithExceptions(Protocol):
    """The columns that say on which days a schedule does not run."""

    @property
    def organization_id(self) -> int: ...
    @property
    def exceptions(self) -> str: ...


class ExclusionsOf:
    """The excluded days of some schedules. Their calendars are read with one statement, if they name any."""

    def __init__(self, schedules: Iterable[WithExceptions]) -> None:
        with_exceptions = [each for each in schedules if each.exceptions]
        names = {name for each in with_exceptions for name in calendar_names(each.exceptions)}
        self._dates: dict[tuple[int, str], str] = {}
        if names:
            organizations = {each.organization_id for each in with_exceptions}
            rows = Calendar.objects.filter(organization__in=organizations, name__in=names)
            for organization_id, name, dates in rows.values_list("organization_id", "name", "dates"):
                self._dates[organization_id, name] = dates

    def days_of(self, schedule: WithExceptions) -> ExcludedDays | None:
        """Returns the days on which a schedule does not run, or None if it runs on all days."""
        text = schedule.exceptions
        if not text:
            return None
        # A calendar that has been deleted excludes nothing.
        found = (self._dates.get((schedule.organization_id, name)) for name in calendar_names(text))
        return _days(text, tuple(dates for dates in found if dates is not None))


def excluded_days_of(schedule: WithExceptions) -> ExcludedDays | None:
    """Returns the days on which a schedule does not run, or None if it runs on all days."""
    return ExclusionsOf([schedule]).days_of(schedule)


@lru_cache(maxsize=1024)
def calendar_names(exceptions: str) -> tuple[str, ...]:
    """Returns the names of calendars in a schedule's `exceptions`."""
    return tuple(entry for entry in orjson.loads(exceptions) if is_calendar_name(entry))


@lru_cache(maxsize=1024)
def _days(exceptions: str, calendars: tuple[str, ...]) -> ExcludedDays | None:
    return union_of_days(span for dates in (exceptions, *calendars) for span in _spans(dates))


@lru_cache(maxsize=1024)
def _spans(dates: str) -> tuple[DaySpan, ...]:
    spans = (read_dates(entry) for entry in orjson.loads(dates))
    return tuple(span for span in spans if span is not None)
