"""Which names events may have, and whether a hook's lists ask for an event. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MAX_NAME_LENGTH = 255

_NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
_PATTERN = re.compile(r"(?:[a-z_]+\.)*(?:[a-z_]+|\*)")
_EVERYTHING = "*"


def is_event_name(text: str) -> bool:
    """Whether the text is lower-case words with dots between them, 255 characters at most: `forms.response.created`."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether the text is an event's name, or one whose last word is `*`; `*` alone is one too."""
    return len(text) <= MAX_NAME_LENGTH and _PATTERN.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def patterns_for(name: str) -> frozenset[str]:
    """Every pattern that matches an event's name: the name, `*`, and each of its beginnings with `*` behind it.

    `forms.*` is for what is under `forms`, at any depth, and not for `forms` itself.
    """
    words = name.split(".")
    beginnings = (".".join(words[:count]) for count in range(1, len(words)))
    return frozenset({name, _EVERYTHING, *(f"{beginning}.*" for beginning in beginnings)})


def matches(patterns: Collection[str], name: str) -> bool:
    """Whether one of the patterns is for the event."""
    return not patterns_for(name).isdisjoint(patterns)


def covers(patterns: Collection[str], pattern: str) -> bool:
    """Returns whether one of the patterns matches everything that `pattern` matches."""
    # A last word of * is read like any word: `forms.response.*` is itself one of the patterns for such a name, and so
    # are `forms.*` and `*`.
    return matches(patterns, pattern)


def hook_wants(
    subscriptions: Collection[str], subscribed_objects: Collection[str], *, name: str, object_id: str | None
) -> bool:
    """Whether a hook with these lists fires for the event.

    Objects narrow it down only where the hook lists some and the event names one.
    """
    if subscribed_objects and object_id is not None and object_id not in subscribed_objects:
        return False
    return matches(subscriptions, name)
