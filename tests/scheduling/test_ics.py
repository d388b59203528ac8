"""Days from iCalendar files."""

from __future__ import annotations

import pytest

from commands_platform.lib.errors import InvalidInputError
from scheduling.ics import YEARS_AHEAD, read_ics


def calendar(*events: str, name: str = "") -> str:
    body = "".join(f"BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n" for event in events)
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{name}{body}END:VCALENDAR\r\n"


def days(*events: str) -> list[str]:
    return read_ics(calendar(*events), most=1000)[1]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261226", ["2026-12-25"]),
        ("DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227", ["2026-12-24/2026-12-26"]),
        ("DTSTART;VALUE=DATE:20261225", ["2026-12-25"]),
        ("DTSTART;VALUE=DATE:20261225\r\nDURATION:P2D", ["2026-12-25/2026-12-26"]),
        ("DTSTART;VALUE=DATE:20261225\r\nDURATION:P1W", ["2026-12-25/2026-12-31"]),
        ("DTSTART;TZID=Europe/Berlin:20261225T090000\r\nDTEND;TZID=Europe/Berlin:20261225T170000", ["2026-12-25"]),
        ("DTSTART:20261225T220000Z\r\nDTEND:20261226T020000Z", ["2026-12-25/2026-12-26"]),
        ("DTSTART:20261225T000000\r\nDTEND:20261226T000000", ["2026-12-25"]),
        ("DTSTART:20261225T090000\r\nDURATION:PT30M", ["2026-12-25"]),
        ("DTSTART;VALUE=DATE:20261225\r\nSTATUS:CANCELLED", []),
        ("DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY;COUNT=2", ["2026-12-25", "2027-12-25"]),
        (
            "DTSTART;VALUE=DATE:20240229\r\nRRULE:FREQ=YEARLY;UNTIL=20320301",
            ["2024-02-29", "2028-02-29", "2032-02-29"],
        ),
        (
            "DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25;INTERVAL=2;UNTIL=20281225",
            ["2026-12-25", "2028-12-25"],
        ),
        ("DTSTART;VALUE=DATE:20261225\r\nBEGIN:VALARM\r\nDTSTART:20000101\r\nEND:VALARM", ["2026-12-25"]),
        ("DTSTART;VALUE=\r\n DATE:2026\r\n 1225", ["2026-12-25"]),
    ],
)
def test_an_event_excludes_its_days(event: str, expected: list[str]) -> None:
    assert days(event) == expected


def test_a_yearly_event_without_an_end_is_read_for_many_years() -> None:
    assert len(days("DTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=YEARLY")) == YEARS_AHEAD


def test_the_name_of_the_file_is_read() -> None:
    assert read_ics(calendar(name="X-WR-CALNAME:holidays-de\r\n"), most=9) == ("holidays-de", [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an iCalendar file"),
        ("hello", "not an iCalendar file"),
        (calendar("SUMMARY:Party"), "'Party' has no DTSTART"),
        (calendar("SUMMARY:Party\r\nDTSTART:tomorrow"), "has a date that cannot be read"),
        (calendar("DTSTART:20261301"), "has a date that cannot be read"),
        (calendar("DTSTART:20261225\r\nDTEND:20261224"), "ends before it begins"),
        (calendar("DTSTART:20261225\r\nDURATION:soon"), "DURATION that cannot be read"),
        (calendar("DTSTART:20261225\r\nRRULE:FREQ=WEEKLY"), "repeats by another rule"),
        (calendar("DTSTART:20261225\r\nRRULE:FREQ=YEARLY;BYDAY=1MO"), "repeats by another rule"),
        (calendar("DTSTART:20261225\r\nRRULE:FREQ=YEARLY;BYMONTH=11"), "repeats by another rule"),
        (calendar("DTSTART:20261225\r\nRRULE:FREQ=YEARLY;COUNT=99999999999"), "repeats by another rule"),
        (calendar("DTSTART:20261225\r\nEXDATE:20271225"), "EXDATE, which is not supported"),
        (calendar(*(f"DTSTART:2026{month:02}01" for month in range(1, 12))), "10 dates and spans of dates at most"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_ics(text, most=10)
    assert reason in caught.value.message
