"""Reading environment variables: a bad value stops the process, and the message names the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from commands_platform import env

NAME = "SOMETHING"

Reader = Callable[[], Any]


def read_text() -> str:
    return env.text(NAME, "otherwise")


def read_choice() -> str:
    return env.choice(NAME, ("json", "console"), "json")


def read_flag() -> bool:
    return env.flag(NAME, default=True)


def read_integer() -> int:
    return env.integer(NAME, 8, minimum=0, maximum=200)


def read_seconds() -> timedelta:
    return env.seconds(NAME, 10, minimum=1, maximum=30)


def read_spans() -> tuple[timedelta, ...]:
    return env.spans(NAME, (5, 30))


def read_words() -> list[str]:
    return env.words(NAME, ("localhost",))


def read_parsed() -> int:
    return env.parsed(NAME, "1f", lambda raw: int(raw, base=16))


DEFAULTS: list[tuple[Reader, object]] = [
    (read_text, "otherwise"),
    (read_choice, "json"),
    (read_flag, True),
    (read_integer, 8),
    (read_seconds, timedelta(seconds=10)),
    (read_spans, (timedelta(seconds=5), timedelta(seconds=30))),
    (read_words, ["localhost"]),
    (read_parsed, 31),
]


@pytest.mark.parametrize(("reader", "default"), DEFAULTS)
@pytest.mark.parametrize("value", [None, "", "   "], ids=["unset", "empty", "blank"])
def test_a_variable_without_a_value_has_its_default(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, default: object, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(NAME, raising=False)
    else:
        monkeypatch.setenv(NAME, value)

    assert reader() == default


@pytest.mark.parametrize(
    ("reader", "value", "meaning"),
    [
        (read_text, "  some words ", "some words"),
        (read_choice, "console", "console"),
        *((read_flag, word, True) for word in ("1", "true", "TRUE", "yes", "On")),
        *((read_flag, word, False) for word in ("0", "false", "False", "no", "OFF")),
        (read_integer, "0", 0),
        (read_integer, "200", 200),
        (read_integer, " 007 ", 7),
        (read_seconds, "1", timedelta(seconds=1)),
        (read_seconds, "2.5", timedelta(seconds=2.5)),
        (read_spans, "1", (timedelta(seconds=1),)),
        (read_spans, "1, 60,0", (timedelta(seconds=1), timedelta(minutes=1), timedelta(0))),
        (read_words, "a, b,,c ", ["a", "b", "c"]),
        (read_words, ",", []),
        (read_parsed, "ff", 255),
    ],
)
def test_a_value_is_read_as_its_type(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, value: str, meaning: object
) -> None:
    monkeypatch.setenv(NAME, value)

    assert reader() == meaning


@pytest.mark.parametrize(
    ("reader", "value", "problem"),
    [
        (read_choice, "xml", "must be one of json, console"),
        (read_choice, "JSON", "must be one of json, console"),
        (read_flag, "maybe", "must be true or false"),
        (read_flag, "2", "must be true or false"),
        *((read_integer, value, "a whole number from 0 to 200") for value in ("201", "-1", "1.0", "1_0", "٣", "ten")),
        *((read_seconds, value, "a number of seconds from 1") for value in ("0.5", "31", "-1", "nan", "inf")),
        (read_seconds, "soon", "could not convert"),
        *((read_spans, value, "must be whole seconds") for value in ("1,,2", "1;2", "-1", "1.5", "٣")),
        (read_parsed, "xyz", "invalid literal"),
    ],
)
def test_a_bad_value_stops_the_process_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, value: str, problem: str
) -> None:
    monkeypatch.setenv(NAME, value)

    with pytest.raises(SystemExit) as stop:
        reader()

    message = str(stop.value)
    assert message.startswith(f"{NAME}: ")
    assert problem in message
    assert message.endswith("(see .env.example)")


def test_a_variable_without_a_default_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)

    with pytest.raises(env.BadEnvironmentError, match=f"{NAME}: must be set"):
        env.text(NAME)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("short", "at least 50 characters"),
        ("abc" * 30, "at least 10 different characters"),
        ("django-insecure-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJ", "from an example"),
        ("ChangeMe-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJ-abc", "from an example"),
    ],
)
def test_a_secret_that_can_be_guessed_stops_the_start_and_the_message_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    monkeypatch.setenv("A_SECRET", value)

    for read in (env.secret, env.secrets):
        with pytest.raises(env.BadEnvironmentError, match=problem) as error:
            read("A_SECRET")
        assert str(error.value).startswith("A_SECRET: ")
        assert "openssl rand -base64 48" in str(error.value)
        assert value not in str(error.value)


def test_a_random_secret_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "Nq3v9Yt0bQmTz7LrXw2KcPd8HsJf5GaEeUiOoRnMxVvBkZyWl1S4u6Ch")

    assert env.secret("A_SECRET") == env.secrets("A_SECRET")[0]


def test_the_server_does_not_start_with_a_weak_secret_key() -> None:
    environment = os.environ | {"COMMANDS_EMBEDDED": "false", "SECRET_KEY": "django-insecure-" + "x" * 50}

    run = subprocess.run(
        [sys.executable, "manage.py", "check"], env=environment, capture_output=True, text=True, check=False
    )

    assert run.returncode != 0
    assert "SECRET_KEY: is from an example" in run.stderr
