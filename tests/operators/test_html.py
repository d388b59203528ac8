"""The small pieces of the admin's pages: times and durations in words, and escaping."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from commands_platform.operators import html

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTILE = "<script>alert('1')</script>"


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (timedelta(0), "now"),
        (timedelta(milliseconds=400), "now"),
        (timedelta(seconds=-1), "1 s ago"),
        (timedelta(seconds=59), "in 59 s"),
        (timedelta(seconds=-60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "in 59 min"),
        (timedelta(hours=-23, minutes=-59), "23 h ago"),
        (timedelta(days=400), "in 400 d"),
    ],
)
def test_a_distance_is_shown_in_its_largest_unit(offset: timedelta, words: str) -> None:
    assert html.distance(NOW + offset, now=NOW) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (86_400, "1 d"),
        (93_784, "1 d 2 h 3 min 4 s"),
    ],
)
def test_an_exact_duration_is_shown_in_all_its_units(seconds: int, words: str) -> None:
    assert html.exact_span(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(("count", "words"), [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB")])
def test_a_size_is_readable(count: int | None, words: str) -> None:
    assert html.size(count) == words


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("", ""),
        ("https://example.com/a?b=c", "https://example.com"),
        ("http://[::1]:8080/a", "http://[::1]:8080"),
        ("http://[/", "(not a URL)"),
    ],
)
def test_an_origin_contains_neither_path_nor_query(url: str, origin: str) -> None:
    assert html.origin(url) == origin


def test_an_instant_is_shown_in_utc() -> None:
    instant = datetime(2026, 2, 25, 13, 0, 0, 250_000, tzinfo=UTC).astimezone(tz=None)

    assert ">2026-02-25 13:00:00</time>" in html.instant(instant)
    assert "2026-02-25T13:00:00.250000+00:00" in html.instant(instant)


@pytest.mark.parametrize(
    "piece",
    [
        html.badge,
        html.plain_badge,
        html.mono,
        html.clipped,
        html.subtle,
        html.block,
        html.pretty_json,
        lambda text: html.badges([text]),
        lambda text: html.two_lines(text, text),
        lambda text: html.explained(html.badge("failed"), text),
        lambda text: html.link(text, text),
        lambda text: html.link_to("no_such_page", text=text),
    ],
)
def test_every_piece_escapes_its_text(piece: Callable[[str], str]) -> None:
    assert "<script>" not in piece(HOSTILE)


def test_labels_beyond_the_limit_are_counted() -> None:
    row = html.badges(["a", "b", "c", "d"], most=2)

    assert ">b<" in row
    assert ">c<" not in row
    assert "+2" in row


def test_a_very_long_text_is_shortened() -> None:
    assert "34464 more characters are not shown." in html.block("a" * 100_000)
