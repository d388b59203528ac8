"""Checks on schedules before they are saved. Each check looks at one field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.instants import format_instant
from deliveries.custom_headers import check_headers
from outbound.guard import address_guard
from scheduling.calendars import Calendar, calendar_names
from scheduling.cron_input import MAX_PERIOD, read_cron
from scheduling.excluded_days import DATE_EXAMPLES, is_calendar_name, read_dates
from scheduling.models import ScheduledExecution, TimezoneType
from scheduling.recurrence import check_zone, next_slot_within, parse_cron

MAX_PAYLOAD_BYTES = 256 * 1024
_FIRST_YEAR = 1970


def with_implied(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the given values together with the values that they imply.

    A `timezone` implies the `timezone_type` that makes the schedule use it. In `cron`, `TZ=` stands for `timezone`, and
    `@every` for `execution_frequency`. `every` replaces `cron` and `execution_frequency`, and each of these replaces
    `every`. Raises InvalidInputError for a `timezone` with another `timezone_type`, because it would have no effect,
    and for a field that contradicts `cron` or `every`.
    """
    values = _with_one_rule(_with_implied_by_cron(values))
    if not values.get("timezone"):
        return values
    timezone_type = values.get("timezone_type", TimezoneType.CUSTOM)
    if timezone_type != TimezoneType.CUSTOM:
        raise InvalidInputError(
            errors={
                "timezone": [f"It has no effect with timezone_type {timezone_type}: leave one of the two fields out."]
            }
        )
    return {**values, "timezone_type": TimezoneType.CUSTOM}


def _with_implied_by_cron(values: Mapping[str, Any]) -> Mapping[str, Any]:
    given = read_cron(values.get("cron") or "")
    if given.period is not None:
        return {**values, "cron": "", "execution_frequency": _frequency_of(given.period, values)}
    if given.zone is None:
        return values
    timezone_type = values.get("timezone_type", TimezoneType.CUSTOM)
    if timezone_type != TimezoneType.CUSTOM:
        reason = f"TZ={given.zone} contradicts timezone_type {timezone_type}: leave one of them out."
        raise InvalidInputError(errors={"cron": [reason]})
    timezone = values.get("timezone")
    if timezone and check_zone(timezone) != given.zone:
        reason = f"TZ={given.zone} contradicts timezone {timezone}: leave one of them out."
        raise InvalidInputError(errors={"cron": [reason]})
    return {**values, "timezone": given.zone}


def _with_one_rule(values: Mapping[str, Any]) -> Mapping[str, Any]:
    others = [field for field in ("cron", "execution_frequency") if values.get(field)]
    if not values.get("every"):
        return {**values, "every": ""} if others else values
    if others:
        reason = f"It stands instead of {others[0]}: leave one of the two out."
        raise InvalidInputError(errors={"every": [reason]})
    return {**values, "cron": "", "execution_frequency": 0}


def _frequency_of(period: timedelta, values: Mapping[str, Any]) -> int:
    """Returns the `execution_frequency` that `@every` stands for, in this server's unit."""
    frequency, rest = divmod(period, settings.FREQUENCY_UNIT)
    if rest:
        raise InvalidInputError(
            errors={"cron": ["This server counts periods in whole minutes: leave out the seconds."]}
        )
    if values.get("execution_frequency", frequency) not in {0, frequency}:
        reason = f"@every contradicts execution_frequency, which would be {frequency}: leave one of them out."
        raise InvalidInputError(errors={"cron": [reason]})
    return frequency


def check_fields(schedule: ScheduledExecution) -> None:
    """Checks every field, and normalizes URLs, zones and headers.

    Raises InvalidInputError with the message of every field that is wrong.
    """
    errors: dict[str, list[str]] = {}
    for field, check in _CHECKS.items():
        try:
            check(schedule)
        except InvalidInputError as error:
            errors[field] = [error.message]
    if errors:
        raise InvalidInputError(errors=errors)


def check_exceptions(schedule: ScheduledExecution) -> None:
    """Raises InvalidInputError for an entry of `except` that is no date and not the name of a calendar."""
    entries: list[str] = orjson.loads(schedule.exceptions)
    for entry in entries:
        try:
            is_known = read_dates(entry) is not None or is_calendar_name(entry)
        except InvalidInputError as error:
            raise InvalidInputError(errors={"except": [error.message]}) from error
        if not is_known:
            reason = f"{entry!r} is neither {DATE_EXAMPLES}, nor the name of a calendar."
            raise InvalidInputError(errors={"except": [reason]})
    names = set(calendar_names(schedule.exceptions))
    if not names:
        return
    known = sorted(Calendar.objects.filter(organization=schedule.organization).values_list("name", flat=True))
    unknown = min(names.difference(known), default=None)
    if unknown is not None:
        advice = f"Its calendars are: {', '.join(known[:20])}." if known else "It has none."
        raise InvalidInputError(errors={"except": [f"The organization has no calendar {unknown!r}. {advice}"]})


def check_has_run(schedule: ScheduledExecution, now: datetime) -> None:
    """Raises InvalidInputError for an active schedule that has no run left."""
    if not schedule.is_active:
        return
    if schedule.next_run_at is not None:
        if schedule.next_run() is None:
            reason = "The schedule would never run: all its slots are on excluded days."
            raise InvalidInputError(errors={"except": [reason]})
        return
    if schedule.ends_at is None:
        reason = "no slot follows starts_at. Set starts_at to an earlier instant."
        raise InvalidInputError(errors={"starts_at": [f"The schedule would never run: {reason}"]})
    first = next_slot_within(schedule.recurrence, after=now, starts_at=schedule.starts_at, ends_at=None)
    if first is None:
        reason = (
            f"it ended at {format_instant(schedule.ends_at)}. Set ends_at to an instant that is to come, or to null."
        )
    else:
        reason = f"its next slot is {format_instant(first)}, after ends_at. Set ends_at to that or later, or to null."
    raise InvalidInputError(errors={"ends_at": [f"The schedule would never run: {reason}"]})


def check_headers_have_origin(schedule: ScheduledExecution) -> None:
    """Raises InvalidInputError for headers of a schedule without a URL, because headers belong to an origin."""
    if schedule.headers and not schedule.callback_origin:
        raise InvalidInputError(
            errors={"headers": ["Headers are kept for one receiver, and there is no URL yet: give callback_url too."]}
        )


def _check_cron(schedule: ScheduledExecution) -> None:
    if not schedule.cron:
        return
    parse_cron(schedule.cron, seconds=schedule.cron_seconds)
    zone = read_cron(schedule.cron).zone
    if zone is None:
        return
    if schedule.timezone_type != TimezoneType.CUSTOM or schedule.timezone.lower() != zone.lower():
        raise InvalidInputError(f"The schedule's cron says TZ={zone}: to change the zone, change cron too.")


def _check_frequency(schedule: ScheduledExecution) -> None:
    if settings.FREQUENCY_UNIT * schedule.execution_frequency > MAX_PERIOD:
        seconds = MAX_PERIOD // settings.FREQUENCY_UNIT
        raise InvalidInputError(
            f"The period may be ten years at most, which is {seconds}. For rarer runs use cron, or single runs."
        )


def check_payload(payload: object) -> None:
    """Raises InvalidInputError for a payload that is too large."""
    size = len(orjson.dumps(payload))
    if size > MAX_PAYLOAD_BYTES:
        reason = (
            f"The payload may have {MAX_PAYLOAD_BYTES} bytes of JSON at most, and has {size}. Send the address of large"
            " data, such as a key in storage, instead of the data."
        )
        raise InvalidInputError(errors={"payload": [reason]})


def _check_payload(schedule: ScheduledExecution) -> None:
    check_payload(schedule.payload)


def _check_external_id(schedule: ScheduledExecution) -> None:
    if "/" in schedule.external_id or schedule.external_id in {".", ".."}:
        raise InvalidInputError("It is a part of a path: it must not contain a slash, and must not be . or ..")


def _check_callback_url(schedule: ScheduledExecution) -> None:
    if schedule.callback_url:
        schedule.callback_url = address_guard().check_url(schedule.callback_url)


def _check_timezone_type(schedule: ScheduledExecution) -> None:
    if schedule.timezone_type == TimezoneType.USER and schedule.owner is None:
        raise InvalidInputError(
            "user_timezone needs a schedule that a user owns: create it with a user's exchange token and with"
            " is_owned_by_user true, or choose organization_timezone or custom_timezone."
        )


def _check_timezone(schedule: ScheduledExecution) -> None:
    if schedule.timezone_type == TimezoneType.CUSTOM and not schedule.timezone:
        raise InvalidInputError(
            "custom_timezone needs a zone: set timezone to an IANA name such as Europe/Berlin, or timezone_type to"
            " organization_timezone."
        )
    if schedule.timezone:
        schedule.timezone = check_zone(schedule.timezone)


def _check_window(schedule: ScheduledExecution) -> None:
    if schedule.starts_at and schedule.ends_at and schedule.starts_at > schedule.ends_at:
        raise InvalidInputError(
            f"ends_at is before starts_at, which is {format_instant(schedule.starts_at)}: move one of them, or set one"
            " to null."
        )


def _check_start(schedule: ScheduledExecution) -> None:
    # The anchor of a period is one period before its start, and must not lie before the calendar begins.
    if schedule.starts_at and schedule.starts_at.year < _FIRST_YEAR:
        raise InvalidInputError(f"starts_at must not be before {_FIRST_YEAR}. For a start at once set it to null.")


def _check_headers(schedule: ScheduledExecution) -> None:
    schedule.headers = check_headers(schedule.headers)


_CHECKS: Mapping[str, Callable[[ScheduledExecution], None]] = {
    "starts_at": _check_start,
    "ends_at": _check_window,
    "headers": _check_headers,
    "cron": _check_cron,
    "execution_frequency": _check_frequency,
    "payload": _check_payload,
    "external_id": _check_external_id,
    "callback_url": _check_callback_url,
    "timezone_type": _check_timezone_type,
    "timezone": _check_timezone,
}
