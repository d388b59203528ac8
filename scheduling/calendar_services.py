"""Creates, replaces and deletes calendars."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from django.db import IntegrityError, transaction

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from commands_platform.lib import clock
from commands_platform.lib.database.availability import busy_if_locked
from commands_platform.lib.errors import InvalidInputError
from organizations.models import Organization
from scheduling.calendars import Calendar
from scheduling.errors import CalendarExistsError, CalendarInUseError
from scheduling.excluded_days import DATE_EXAMPLES, is_calendar_name, read_dates
from scheduling.models import ScheduledExecution

MAX_CALENDARS = 100


def create_calendar(*, organization: Organization, name: str, dates: Sequence[str]) -> Calendar:
    """Creates a calendar. Raises InvalidInputError, or CalendarExistsError if there is one of this name."""
    _check(organization, name, dates)
    try:
        with transaction.atomic():
            calendar = Calendar.objects.create(organization=organization, name=name, dates=_as_text(dates))
            record(Verb.CREATED, calendar)
            return calendar
    except IntegrityError as error:
        raise CalendarExistsError from error


@busy_if_locked()
@transaction.atomic
def put_calendar(*, organization: Organization, name: str, dates: Sequence[str]) -> tuple[Calendar, bool]:
    """Replaces the days of a calendar, or creates it. Returns it, and whether it is new.

    Schedules follow at once, because a dispatcher reads the calendar when it plans a run. Raises InvalidInputError.
    """
    calendars = Calendar.objects.select_for_update().filter(organization=organization, name=name)
    existing = calendars.first()
    if existing is None:
        try:
            return create_calendar(organization=organization, name=name, dates=dates), True
        except CalendarExistsError:
            # Somebody else has created it in the meantime.
            existing = calendars.get()
    _check_dates(dates)
    before = values_of(existing)
    existing.dates, existing.updated_at = _as_text(dates), clock.now()
    existing.save(update_fields=["dates", "updated_at"])
    record(Verb.CHANGED, existing, before=before)
    return existing, False


@busy_if_locked()
@transaction.atomic
def delete_calendar(*, calendar: Calendar) -> None:
    """Deletes a calendar. Raises CalendarInUseError if a schedule names it."""
    users = ScheduledExecution.objects.filter(organization=calendar.organization_id).exclude(exceptions="")
    count = users.filter(exceptions__contains=f'"{calendar.name}"').count()
    if count:
        raise CalendarInUseError(count)
    record(Verb.DELETED, calendar)
    calendar.delete()


def _check(organization: Organization, name: str, dates: Sequence[str]) -> None:
    if not is_calendar_name(name):
        reason = "A name begins with a letter, and has up to 64 letters, digits, dots, hyphens and underscores."
        raise InvalidInputError(errors={"name": [reason]})
    _check_dates(dates)
    if Calendar.objects.filter(organization=organization).count() >= MAX_CALENDARS:
        raise InvalidInputError(errors={"name": [f"An organization may have {MAX_CALENDARS} calendars at most."]})


def _check_dates(dates: Sequence[str]) -> None:
    for entry in dates:
        try:
            is_date = read_dates(entry) is not None
        except InvalidInputError as error:
            raise InvalidInputError(errors={"dates": [error.message]}) from error
        if not is_date:
            raise InvalidInputError(errors={"dates": [f"{entry!r} is not {DATE_EXAMPLES}."]})


def _as_text(dates: Sequence[str]) -> str:
    return orjson.dumps(list(dict.fromkeys(dates))).decode()
