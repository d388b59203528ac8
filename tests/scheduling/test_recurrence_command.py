from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from commands_platform.lib.instants import format_instant
from scheduling.management.commands.next_slots import MAX_LINE_BYTES
from scheduling.recurrence import Recurrence, next_slot

START = "2026-10-31T12:00:00Z"
ANCHOR = datetime.fromisoformat(START)


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    call_command("next_slots", *arguments, stdout=output)
    return output.getvalue().splitlines()


def ask(tmp_path: Path, *lines: bytes) -> list[dict[str, Any]]:
    questions = tmp_path / "questions"
    questions.write_bytes(b"\n".join(lines))
    return [json.loads(line) for line in run("--batch", str(questions))]


def test_slots_are_shown_with_local_time_and_offset() -> None:
    lines = run("30 1 * * *", "--timezone", "america/new_york", "--from", START, "--count", "2")
    assert lines == [
        "Sun 2026-11-01 01:30:00 -04:00 EDT  2026-11-01T05:30:00Z",
        "Mon 2026-11-02 01:30:00 -05:00 EST  2026-11-02T06:30:00Z",
    ]


def test_slots_are_shown_as_json() -> None:
    (line,) = run("30 1 * * *", "--timezone=America/New_York", f"--from={START}", "--count=2", "--json")
    assert json.loads(line) == {"slots": ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]}


def test_the_rules_can_be_chosen() -> None:
    (line,) = run(
        *("0 30 1 * * *", "--seconds", "--dst-overlap", "both", "--dst-gap", "skip", "--json", "--count", "2"),
        *("--timezone", "America/New_York", "--from", START),
    )
    assert json.loads(line) == {"slots": ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"]}


def test_several_expressions_are_shown_together() -> None:
    (line,) = run("0 9 * * *", "0 17,9 * * MON", "--json", "--count", "4", "--from", START)
    expected = ["2026-11-01T09:00:00Z", "2026-11-02T09:00:00Z", "2026-11-02T17:00:00Z", "2026-11-03T09:00:00Z"]
    assert json.loads(line) == {"slots": expected}


@pytest.mark.parametrize("arguments", [(), ("--timezone", "asia/tokyo")])
def test_a_prefix_sets_the_zone_of_the_command(arguments: tuple[str, ...]) -> None:
    (line,) = run("TZ=Asia/Tokyo 0 9 * * *", "--count", "1", "--from", START, *arguments)
    assert line == "Sun 2026-11-01 09:00:00 +09:00 JST  2026-11-01T00:00:00Z"


def test_every_is_a_period_from_the_start() -> None:
    (line,) = run("@every 1h30m", "--json", "--count", "2", "--from", START)
    assert json.loads(line) == {"slots": ["2026-10-31T13:30:00Z", "2026-10-31T15:00:00Z"]}


def test_hashed_values_are_those_of_the_schedule(tmp_path: Path) -> None:
    uuid = "c96d31b0-6930-4861-b0a2-3687ed36c0eb"
    (line,) = run("H H * * *", "--hash", uuid, "--json", "--count", "1", "--from", START)
    expected = next_slot(Recurrence("UTC", ANCHOR, "H H * * *", seed=UUID(uuid)), after=ANCHOR)
    assert expected is not None
    assert json.loads(line) == {"slots": [format_instant(expected)]}
    question = {"expr": "H H * * *", "hash": uuid, "from": START, "count": 1}
    assert ask(tmp_path, json.dumps(question).encode()) == [json.loads(line)]


def test_the_slots_start_from_now_by_default() -> None:
    (line,) = run("* * * * *", "--json")
    found = [datetime.fromisoformat(slot) for slot in json.loads(line)["slots"]]
    assert len(found) == 5
    assert timedelta(0) < found[0] - datetime.now(UTC) + timedelta(seconds=30) < timedelta(seconds=91)


def test_the_output_says_if_an_expression_has_no_slots() -> None:
    (line,) = run("* 2 * 3 0#2", "--timezone", "America/New_York", "--from", START)
    assert line == "It never fires after that."


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["61 * * * *"], "Minute field, character 1: 61 is not between 0 and 59."),
        (["@daily", "--timezone", "localtime"], "'localtime' is not a time zone"),
        (["@daily", "--from", "2026-10-31"], "from must be an instant with its offset"),
        (["@daily", "--count", "0"], "count must be a whole number"),
        (["0 9 * * *", "0 24 * * *"], "Expression 2, hour field, character 3: 24 is not between 0 and 23."),
        (["H 9 * * *"], "H needs a hash: the UUID of the schedule"),
        (["TZ=Asia/Tokyo @daily", "--timezone", "UTC"], "TZ=Asia/Tokyo and the time zone UTC differ."),
        ([], "Give an expression, or --batch."),
        (["@daily", "--batch", "-"], "not both"),
        (["--batch", "/nowhere/at/all"], "/nowhere/at/all cannot be read: No such file"),
    ],
)
def test_an_invalid_argument_is_reported_with_the_reason(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason.replace("(", r"\(")):
        run(*arguments)


def test_a_batch_answers_each_line() -> None:
    questions = [
        {"expr": "0 0 * * *", "tz": "Europe/Paris", "from": "2026-03-01T00:00:00Z", "count": 2},
        {"expr": "0 0 0 L * *", "tz": "UTC", "from": "2026-02-01T01:00:00+01:00", "count": 1, "seconds": True},
        {"expr": "30 2 * * *", "tz": "America/New_York", "from": "2026-03-08T00:00:00Z", "count": 1, "dst_gap": "skip"},
        {"expr": "60 * * * *", "tz": "UTC", "from": "2026-03-01T00:00:00Z", "count": 2},
        {"expr": ["0 9 * * *", "0 5 * * *"], "from": "2026-03-01T00:00:00Z", "count": 2},
    ]
    answers = answer_from_standard_input("\n".join(json.dumps(question) for question in questions).encode())
    assert answers == [
        {"slots": ["2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"]},
        {"slots": ["2026-02-28T00:00:00Z"]},
        {"slots": ["2026-03-09T06:30:00Z"]},
        {"error": "Minute field, character 1: 60 is not between 0 and 59."},
        {"slots": ["2026-03-01T05:00:00Z", "2026-03-01T09:00:00Z"]},
    ]


def answer_from_standard_input(questions: bytes) -> list[dict[str, Any]]:
    previous = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(questions))
    try:
        return [json.loads(line) for line in run("--batch", "-")]
    finally:
        sys.stdin = previous


BAD_LINES = [
    b"",
    b"{",
    b"null",
    b"5",
    b'"0 0 * * *"',
    b"[1]",
    b"{}",
    b"\xff\xfe",
    b'{"expr": "\xff"}',
    b"[" * 50_000,
    b'{"expr": ' * 5_000,
    b'{"expr": "' + b"0" * (MAX_LINE_BYTES + 100) + b'"}',
    b'{"expr": null}',
    b'{"expr": 5}',
    b'{"expr": []}',
    b'{"expr": ["@daily", ""]}',
    b'{"expr": ["@daily", 5]}',
    b'{"expr": ["@daily", ["@daily"]]}',
    b'{"expr": "0 9 * * *\\n0 17 * * *"}',
    b'{"expr": ["@daily", "@every 5m"]}',
    b'{"expr": "@every 5M"}',
    b'{"expr": "H 9 * * *"}',
    b'{"expr": "H 9 * * *", "hash": 5}',
    b'{"expr": "H 9 * * *", "hash": ""}',
    b'{"expr": "TZ=Asia/Tokyo @daily", "tz": "UTC"}',
    b'{"expr": "TZ=Mars/Olympus @daily"}',
    b'{"expr": ["TZ=Asia/Tokyo @daily", "@weekly"]}',
    b'{"expr": ""}',
    b'{"expr": "\\ud800 * * * *"}',
    b'{"expr": "\\u0000"}',
    b'{"expr": "0 0 30 2 *"}',
    b'{"expr": "@daily", "tz": 5}',
    b'{"expr": "@daily", "tz": "../etc/passwd"}',
    b'{"expr": "@daily", "tz": "\\udfff"}',
    b'{"expr": "@daily", "from": 5}',
    b'{"expr": "@daily", "from": "yesterday"}',
    b'{"expr": "@daily", "from": "2026-01-01T00:00:00"}',
    b'{"expr": "@daily", "from": "0001-01-01T00:00:00+14:00"}',
    b'{"expr": "@daily", "count": 0}',
    b'{"expr": "@daily", "count": -1}',
    b'{"expr": "@daily", "count": 1e9}',
    b'{"expr": "@daily", "count": 10001}',
    b'{"expr": "@daily", "count": true}',
    b'{"expr": "@daily", "count": "5"}',
    b'{"expr": "@daily", "count": ' + b"9" * 5_000 + b"}",
    b'{"expr": "@daily", "seconds": 1}',
    b'{"expr": "@daily", "dst_gap": "never"}',
    b'{"expr": "@daily", "dst_gap": ["skip"]}',
    b'{"expr": "@daily", "dst_overlap": {}}',
]


def test_a_bad_line_gets_an_error_and_the_next_its_answer(tmp_path: Path) -> None:
    good = json.dumps({"expr": "@daily", "from": START, "count": 1}).encode()
    answers = ask(tmp_path, *(line for bad in BAD_LINES for line in (bad, good)))
    assert answers[1::2] == [{"slots": ["2026-11-01T00:00:00Z"]}] * len(BAD_LINES)
    for line, answer in zip(BAD_LINES, answers[::2], strict=True):
        assert list(answer) == ["error"], line[:80]
        assert 10 < len(answer["error"]) < 300


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar_are_answered(tmp_path: Path, start: str) -> None:
    (answer,) = ask(tmp_path, json.dumps({"expr": "@yearly", "tz": "Asia/Tokyo", "from": start}).encode())
    assert len(answer) == 1
