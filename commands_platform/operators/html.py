"""Builds small pieces of escaped HTML for the admin's pages, with the CSS classes of its theme. All times are UTC."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from commands_platform.operators.permissions import url_if_allowed

Tone = Literal["neutral", "info", "success", "warning", "danger"]

DASH = SafeString('<span class="text-subtle">–</span>')
_MAX_BLOCK_LENGTH = 64 * 1024

_TONE_CLASSES: dict[Tone, str] = {
    "neutral": "bg-base-500/8 text-base-700 dark:bg-base-500/20 dark:text-base-200",
    "info": "bg-blue-100 text-blue-700 dark:bg-blue-500/20 dark:text-blue-400",
    "success": "bg-green-100 text-green-700 dark:bg-green-500/20 dark:text-green-400",
    "warning": "bg-orange-100 text-orange-700 dark:bg-orange-500/20 dark:text-orange-400",
    "danger": "bg-red-100 text-red-700 dark:bg-red-500/20 dark:text-red-400",
}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def badge(text: object, tone: Tone = "neutral") -> SafeString:
    """Returns a coloured label."""
    return format_html(
        '<span class="inline-block font-semibold h-6 leading-6 px-2 rounded-default text-[11px] uppercase'
        ' whitespace-nowrap {}">{}</span>',
        _TONE_CLASSES[tone],
        text,
    )


def badges(texts: Iterable[object], *, most: int | None = None) -> SafeString:
    """Returns a row of labels. If there are more than `most`, it ends with the number left out: `+2`."""
    every = list(texts)
    shown = every[:most]
    row = format_html_join(" ", "{}", ((plain_badge(text),) for text in shown))
    rest = len(every) - len(shown)
    return format_html('<span class="cp-badges">{}{}</span>', row, f" +{rest}" if rest else "")


def plain_badge(text: object) -> SafeString:
    """Returns a label whose text keeps its case, for a scope or the name of an event."""
    return format_html('<span class="cp-chip">{}</span>', text)


def mono(text: object) -> SafeString:
    """Returns text in a fixed-width font."""
    return format_html('<span class="cp-mono">{}</span>', text) if text else DASH


def clipped(text: object) -> SafeString:
    """Returns text in a fixed-width font, cut to fit a column of a list. The title attribute has the whole text."""
    return format_html('<span class="cp-mono cp-clipped" title="{}">{}</span>', text, text) if text else DASH


def subtle(text: object) -> SafeString:
    return format_html('<span class="text-subtle">{}</span>', text)


def two_lines(first: object, second: object) -> SafeString:
    """Returns two lines for one cell of a table. The second line is smaller and explains the first."""
    return format_html(
        '<span class="cp-two-lines"><span>{}</span><span class="text-subtle text-xs">{}</span></span>', first, second
    )


def explained(label: SafeString, reason: object) -> SafeString:
    """Returns a badge with its reason below it, or the badge alone if there is no reason."""
    if not reason:
        return label
    return format_html('<span class="cp-explained">{}<span class="text-subtle text-xs">{}</span></span>', label, reason)


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', url, text)


def link_to(name: str, *arguments: object, text: object, query: str = "") -> SafeString:
    """Returns a link to a page of the admin by its URL's name, without `admin:`.

    Returns the bare text if there is no such page, or if the operator may not open it.
    """
    url = url_if_allowed(name, *arguments, query=query)
    return link(url, text) if url else format_html("{}", text)


def instant(value: datetime | None) -> SafeString:
    """Returns `2026-02-25 12:00:00`, with the exact time in ISO 8601 as its title attribute."""
    if value is None:
        return DASH
    exact = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}" class="whitespace-nowrap cp-figures">{}</time>',
        exact.isoformat(),
        exact.isoformat(),
        exact.strftime("%Y-%m-%d %H:%M:%S"),
    )


def instant_and_distance(value: datetime | None) -> SafeString:
    """Returns the instant, with its distance from now on the line below."""
    return DASH if value is None else two_lines(instant(value), distance(value))


def when(value: datetime | None, *, never: str = "never", prefix: str = "") -> SafeString:
    """Returns the distance from now, with the instant as its title attribute."""
    if value is None:
        return subtle(never)
    return format_html(
        '<time datetime="{}" title="{} UTC" class="whitespace-nowrap">{}{}</time>',
        value.isoformat(),
        value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        prefix,
        distance(value),
    )


def instant_in_full(value: datetime | None) -> SafeString:
    """Returns the instant and its distance from now in one line, for an object's page."""
    return DASH if value is None else format_html("{} UTC {}", instant(value), subtle(f"· {distance(value)}"))


def distance(value: datetime, *, now: datetime | None = None) -> str:
    """Returns `3 min ago`, `in 2 h` or `now`."""
    seconds = round((value - (now or timezone.now())).total_seconds())
    if seconds == 0:
        return "now"
    words = rough_span(timedelta(seconds=abs(seconds)))
    return f"in {words}" if seconds > 0 else f"{words} ago"


def rough_span(span: timedelta) -> str:
    """Returns the span rounded down to its largest unit: `45 s`, `3 min`, `2 h`, `12 d`."""
    seconds = int(span.total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "0 s"


def exact_span(span: timedelta) -> str:
    """Returns the span in all its units: `1 h 30 min`."""
    seconds, words = int(span.total_seconds()), []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words) or "0 s"


def size(count: int | None) -> str:
    """Returns a number of bytes for people: `812 B`, `1.2 KiB`."""
    if count is None:
        return "–"
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB"


def origin(url: str) -> str:
    """Returns a URL's scheme, host and port. The path and query may contain a receiver's secrets."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.netloc}"


def pretty_json(value: Any) -> SafeString:
    """Returns a value as indented JSON in a box that scrolls. Very long JSON is cut."""
    return block(json.dumps(value, ensure_ascii=False, indent=2))


def block(text: str) -> SafeString:
    """Returns text in a box that scrolls. Very long text is cut."""
    rest = len(text) - _MAX_BLOCK_LENGTH
    note = format_html('<p class="text-subtle mt-2">{} more characters are not shown.</p>', rest) if rest > 0 else ""
    return format_html('<pre class="cp-block">{}</pre>{}', text[:_MAX_BLOCK_LENGTH], note)
