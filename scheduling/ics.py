"""Reads the days of an iCalendar file (RFC 5545), such as a list of public holidays.

Each event excludes its days. An event with times excludes the local dates that it touches, whatever its time zone. An
event that repeats does so every year, which is all that holidays need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

from commands_platform.lib.errors import InvalidInputError

# The number of years for which a yearly event without an end is read.
YEARS_AHEAD = 50

_FOLD = re.compile(r"\r?\n[ \t]")
_DATE = re.compile(r"(\d{8})(?:T\d{6}Z?)?", re.ASCII)
_DAYS = re.compile(r"P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(T\w+)?", re.ASCII)
_SIMPLE_KEYS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "WKST"}
_UNREADABLE = ("RDATE", "EXDATE", "RECURRENCE-ID")

Event = dict[str, str]


def read_ics(text: str, *, most: int) -> tuple[str | None, list[str]]:
    """Returns the calendar's own name, and its days as dates and spans of dates, at most `most`.

    Raises InvalidInputError for text that is no calendar, and for an event that cannot be read.
    """
    lines = _FOLD.sub("", text.removeprefix("\ufeff")).splitlines()
    if not lines or lines[0].strip().upper() != "BEGIN:VCALENDAR":
        raise InvalidInputError("It is not an iCalendar file, which begins with BEGIN:VCALENDAR.")
    name = next((value for key, value in map(_split, lines) if key in {"NAME", "X-WR-CALNAME"}), None)
    found: set[str] = set()
    for event in _events(lines):
        for first, last in _days_of(event):
            found.add(first.isoformat() if first == last else f"{first.isoformat()}/{last.isoformat()}")
            if len(found) > most:
                raise InvalidInputError(f"A calendar may have {most} dates and spans of dates at most.")
    return name, sorted(found)


def _events(lines: list[str]) -> Iterator[Event]:
    event: Event | None = None
    # Alarms and other parts stand inside an event.
    depth = 0
    for key, value in map(_split, lines):
        if key == "BEGIN":
            if event is not None:
                depth += 1
            elif value.upper() == "VEVENT":
                event = {}
        elif key == "END" and event is not None:
            if depth:
                depth -= 1
                continue
            if event.get("STATUS", "").upper() != "CANCELLED":
                yield event
            event = None
        elif event is not None and not depth:
            event.setdefault(key, value)


def _split(line: str) -> tuple[str, str]:
    """Returns the name of a line's property, without its parameters, and its value."""
    name, _, value = line.partition(":")
    return name.partition(";")[0].strip().upper(), value.strip()


def _days_of(event: Event) -> Iterator[tuple[date, date]]:
    title = event.get("SUMMARY") or event.get("UID") or "without a name"
    if "DTSTART" not in event:
        raise _wrong(title, "has no DTSTART")
    if unreadable := next((key for key in _UNREADABLE if key in event), None):
        raise _wrong(title, f"has {unreadable}, which is not supported: list its dates as events of their own")
    first = _date(title, event["DTSTART"])
    length = _last_day(title, event, first) - first
    for start in _repetitions(title, event.get("RRULE", ""), first):
        yield start, start + length


def _last_day(title: str, event: Event, first: date) -> date:
    if "DTEND" in event:
        last = _date(title, event["DTEND"])
        # The end is not included. A time of 00:00 is the end of the day before.
        if last > first and event["DTEND"].partition("T")[2].removesuffix("Z") in ("", "000000"):
            last -= timedelta(days=1)
        if last < first:
            raise _wrong(title, "ends before it begins")
        return last
    duration = _DAYS.fullmatch(event.get("DURATION", "P1D"))
    if duration is None:
        raise _wrong(title, f"has a DURATION that cannot be read: {event['DURATION'][:40]}")
    days = 7 * int(duration[1] or 0) + int(duration[2] or 0)
    return first + timedelta(days=max(0, days - 1))


def _repetitions(title: str, rule: str, first: date) -> Iterator[date]:
    if not rule:
        yield first
        return
    values = dict(part.upper().split("=", 1) for part in rule.split(";") if "=" in part)
    is_simple = values.get("FREQ") == "YEARLY" and values.keys() <= _SIMPLE_KEYS
    is_same_day = values.get("BYMONTH", str(first.month)).lstrip("0") == str(first.month) and values.get(
        "BYMONTHDAY", str(first.day)
    ).lstrip("0") == str(first.day)
    interval, count = values.get("INTERVAL", "1"), values.get("COUNT", str(YEARS_AHEAD))
    are_numbers = all(re.fullmatch(r"[1-9][0-9]{0,3}", text) for text in (interval, count))
    if not is_simple or not is_same_day or not are_numbers:
        raise _wrong(title, "repeats by another rule than every year on the same date: list its dates as single events")
    until = _date(title, values["UNTIL"]) if "UNTIL" in values else date.max
    for number in range(min(int(count), YEARS_AHEAD)):
        year = first.year + number * int(interval)
        try:
            start = first.replace(year=year)
        except ValueError:
            # There is no 29 February in this year, or no such year.
            continue
        if start <= until:
            yield start


def _date(title: str, text: str) -> date:
    match = _DATE.fullmatch(text)
    try:
        return date.fromisoformat(match[1] if match else "")
    except ValueError as error:
        raise _wrong(title, f"has a date that cannot be read: {text[:40]}") from error


def _wrong(title: str, reason: str) -> InvalidInputError:
    return InvalidInputError(f"The event {title[:80]!r} {reason}.")
