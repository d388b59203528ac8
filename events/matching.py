"""Checks the names of events, and finds the patterns that match them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

MAX_NAME_LENGTH = 255

_NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
_PATTERN = re.compile(r"(?:[a-z_]+\.)*(?:[a-z_]+|\*)")
_EVERYTHING = "*"


def is_event_name(text: str) -> bool:
    """Returns whether the text is lower-case words with dots between them, such as `forms.response.created`.

    It may have 255 characters at most.
    """
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Returns whether the text is an event's name, or a name whose last word is `*`. `*` alone is a pattern too."""
    return len(text) <= MAX_NAME_LENGTH and _PATTERN.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def patterns_for(name: str) -> frozenset[str]:
    """Returns every pattern that matches an event's name: the name, `*`, and each of its beginnings followed by `.*`.

    `forms.*` matches every name below `forms`, at any depth, but not `forms` itself.
    """
    words = name.split(".")
    beginnings = (".".join(words[:count]) for count in range(1, len(words)))
    return frozenset({name, _EVERYTHING, *(f"{beginning}.*" for beginning in beginnings)})


def matches(patterns: Collection[str], name: str) -> bool:
    """Returns whether one of the patterns matches the event's name."""
    return not patterns_for(name).isdisjoint(patterns)


def covers(patterns: Collection[str], pattern: str) -> bool:
    """Returns whether one of the patterns matches everything that `pattern` matches."""
    # The last word may be *, which counts as a word here. So `forms.response.*` is matched by itself, by `forms.*` and
    # by `*`.
    return matches(patterns, pattern)
