"""Typed readers of environment variables. A bad value stops the process with one line that names the variable."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

MIN_SECRET_LENGTH = 50
MIN_DISTINCT_CHARACTERS = 10
# Placeholders for a secret in Django, in tutorials and in our .env.example.
_FROM_EXAMPLES = ("django-insecure-", "changeme", "change-me", "change_me", "openssl rand", "random characters")


class BadEnvironmentError(SystemExit):
    """An environment variable is missing or has an unusable value."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem} (see .env.example)")


def _read(name: str, default: T | None, convert: Callable[[str], T]) -> T:
    raw = os.environ.get(name, "").strip()
    if not raw:
        if default is None:
            raise BadEnvironmentError(name, "must be set")
        return default
    return _converted(name, raw, convert)


def _converted(name: str, raw: str, convert: Callable[[str], T]) -> T:
    try:
        return convert(raw)
    except ValueError as error:
        raise BadEnvironmentError(name, str(error)) from error


def text(name: str, default: str | None = None) -> str:
    """Returns the variable's text without surrounding spaces. An empty one counts as not set."""
    return _read(name, default, str)


def choice(name: str, choices: tuple[str, ...], default: str) -> str:
    def convert(raw: str) -> str:
        if raw not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw

    return _read(name, default, convert)


def flag(name: str, *, default: bool) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def convert(raw: str) -> bool:
        if raw.lower() not in words:
            raise ValueError("must be true or false")
        return words[raw.lower()]

    return _read(name, default, convert)


def integer(name: str, default: int, *, minimum: int, maximum: int) -> int:
    def convert(raw: str) -> int:
        if not (raw.isascii() and raw.isdigit() and minimum <= int(raw) <= maximum):
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return int(raw)

    return _read(name, default, convert)


def seconds(name: str, default: float, *, minimum: float, maximum: float) -> timedelta:
    def convert(raw: str) -> timedelta:
        value = float(raw)
        if not minimum <= value <= maximum:
            raise ValueError(f"must be a number of seconds from {minimum} to {maximum}")
        return timedelta(seconds=value)

    return _read(name, timedelta(seconds=default), convert)


def spans(name: str, default: tuple[int, ...]) -> tuple[timedelta, ...]:
    """Returns time spans, given as comma-separated whole seconds."""

    def convert(raw: str) -> tuple[timedelta, ...]:
        parts = [part.strip() for part in raw.split(",")]
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError("must be whole seconds with commas between them")
        if any(len(part) > 9 for part in parts):
            raise ValueError("must be shorter than 1,000,000,000 seconds each")
        return tuple(timedelta(seconds=int(part)) for part in parts)

    return _read(name, tuple(timedelta(seconds=span) for span in default), convert)


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Returns comma-separated words."""
    return _read(name, list(default), lambda raw: [part.strip() for part in raw.split(",") if part.strip()])


def secret(name: str) -> str:
    """Returns a secret. Refuses one that is short, repetitive, or known from an example."""
    return _read(name, None, _hard_to_guess)


def secrets(name: str) -> list[str]:
    """Returns comma-separated secrets. Refuses each that `secret` would refuse."""
    return _read(name, [], lambda raw: [_hard_to_guess(part.strip()) for part in raw.split(",") if part.strip()])


def _hard_to_guess(raw: str) -> str:
    how = "make one with: openssl rand -base64 48"
    if any(word in raw.lower() for word in _FROM_EXAMPLES):
        raise ValueError(f"is from an example; {how}")
    if len(raw) < MIN_SECRET_LENGTH:
        raise ValueError(f"must have at least {MIN_SECRET_LENGTH} characters; {how}")
    if len(set(raw)) < MIN_DISTINCT_CHARACTERS:
        raise ValueError(f"must have at least {MIN_DISTINCT_CHARACTERS} different characters; {how}")
    return raw


def parsed(name: str, default: str, convert: Callable[[str], T]) -> T:
    """Returns the variable or its default, converted. A ValueError of `convert` becomes the message."""
    return _converted(name, os.environ.get(name, "").strip() or default, convert)


def ports(name: str) -> frozenset[int] | None:
    """Returns comma-separated TCP ports, or None if there are none."""

    def convert(raw: str) -> frozenset[int] | None:
        numbers = [part.strip() for part in raw.split(",") if part.strip()]
        if not all(
            part.isascii() and part.isdigit() and len(part) <= 5 and 1 <= int(part) <= 65535 for part in numbers
        ):
            raise ValueError("must be ports from 1 to 65535 with commas between them")
        return frozenset(map(int, numbers)) or None

    return parsed(name, "", convert)
