"""`manage.py next_slots`: prints when cron expressions fire, for people or, line by line, for programs."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.instants import format_instant
from scheduling.cron_grammar import join_expressions, parse_cron
from scheduling.cron_input import read_cron
from scheduling.recurrence import Recurrence, load_zone, slots

MAX_SLOTS = 10_000
MAX_LINE_BYTES = 64 * 1024
DEFAULT_SLOTS = 5
GAP_RULES = ("run_after", "skip")
OVERLAP_RULES = ("first", "both")


@dataclass(frozen=True, slots=True)
class Question:
    """Asks for the first `count` slots of the recurrence after `start`."""

    recurrence: Recurrence
    start: datetime
    count: int

    def answer(self) -> list[datetime]:
        """Returns the slots in UTC, fewer than `count` if there are no more."""
        return list(islice(slots(self.recurrence, after=self.start), self.count))


class Command(BaseCommand):
    """This command needs no database."""

    help = "Prints the next slots of one or more cron expressions: local time, offset and UTC."
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "expr",
            nargs="*",
            help="a cron expression, quoted, or several; also @daily, '@every 5m', 'TZ=Asia/Tokyo 0 9 * * *'",
        )
        parser.add_argument("--timezone", help="an IANA name (default: that of TZ=, or else UTC)")
        parser.add_argument(
            "--hash", metavar="TEXT", help="the text that H takes its values from: the UUID of a schedule"
        )
        parser.add_argument("--from", dest="start", help="slots strictly after this instant, ISO 8601 (default: now)")
        parser.add_argument(
            "--count", type=int, default=DEFAULT_SLOTS, help=f"1 to {MAX_SLOTS} (default: {DEFAULT_SLOTS})"
        )
        parser.add_argument("--seconds", action="store_true", help="expressions have six fields, the seconds first")
        parser.add_argument(
            "--dst-gap", choices=GAP_RULES, default="run_after", help="whether a skipped wall time fires after the gap"
        )
        parser.add_argument(
            "--dst-overlap", choices=OVERLAP_RULES, default="first", help="which times a repeated one fires"
        )
        parser.add_argument("--json", action="store_true", help='print {"slots": […]} instead of lines')
        parser.add_argument(
            "--batch",
            metavar="FILE",
            help='answer each JSON line {"expr", "tz", "hash", "from", "count"} of a file, or of - for the standard '
            'input, with one line {"slots": […]} or {"error": "…"}; "expr" may be an array',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["batch"] is not None:
            if options["expr"]:
                raise CommandError("Give an expression or --batch, not both.")
            self._answer_batch(options["batch"])
            return
        if not options["expr"]:
            raise CommandError("Give an expression, or --batch.")
        try:
            question = _read_question(
                {
                    "expr": options["expr"],
                    "tz": options["timezone"],
                    "hash": options["hash"],
                    "from": options["start"],
                    "count": options["count"],
                    "seconds": options["seconds"],
                    "dst_gap": options["dst_gap"],
                    "dst_overlap": options["dst_overlap"],
                }
            )
            found = question.answer()
        except InvalidInputError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(_as_json(found))
            return
        for slot in found:
            local = slot.astimezone(load_zone(question.recurrence.zone))
            self.stdout.write(
                f"{local:%a %Y-%m-%d %H:%M:%S} {local.isoformat()[19:]} {local:%Z}  {format_instant(slot)}"
            )
        if not found:
            self.stdout.write("It never fires after that.")

    def _answer_batch(self, path: str) -> None:
        if path == "-":
            self._answer_lines(sys.stdin.buffer)
            return
        try:
            with open(path, "rb") as lines:  # noqa: PTH123
                self._answer_lines(lines)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error

    def _answer_lines(self, lines: BinaryIO) -> None:
        for line in _bounded_lines(lines):
            self.stdout.write(_answer_line(line))
            # A program may wait for this answer before it sends its next line.
            self.stdout.flush()


def _bounded_lines(lines: BinaryIO) -> Iterator[bytes]:
    """Yields the lines. A line that is too long is cut just above the limit."""
    while line := lines.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := lines.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        yield line


def _answer_line(line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        return _as_error(f"The line is longer than {MAX_LINE_BYTES} bytes.")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return _as_error("The line is not JSON in UTF-8.")
    if not isinstance(values, dict):
        return _as_error("The line is not a JSON object.")
    try:
        return _as_json(_read_question(values).answer())
    except InvalidInputError as error:
        return _as_error(error.message)


def _read_question(values: dict[str, Any]) -> Question:
    start = _read_instant(values.get("from"))
    given = read_cron(_read_expressions(values.get("expr")))
    has_seconds = _read_flag(values, "seconds")
    seed = _read_text(values, "hash")
    if given.cron and seed is None and parse_cron(given.cron, seconds=has_seconds).is_hashed:
        raise InvalidInputError("H needs a hash: the UUID of the schedule, or any text.")
    return Question(
        recurrence=Recurrence(
            zone=_read_zone(values, given.zone),
            anchor=start,
            cron=given.cron,
            period=given.period,
            cron_seconds=has_seconds,
            dst_gap=_read_choice(values, "dst_gap", GAP_RULES),
            dst_overlap=_read_choice(values, "dst_overlap", OVERLAP_RULES),
            seed=seed or "",
        ),
        start=start,
        count=_read_count(values.get("count")),
    )


def _read_expressions(value: object) -> str:
    several: list[Any] = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(each, str) and each for each in several):
        raise InvalidInputError("expr must be a string that is not empty, or an array of such strings.")
    if any("\n" in each for each in several):
        raise InvalidInputError("An expression is one line. Give several as an array.")
    return join_expressions(several)


def _read_zone(values: dict[str, Any], prefix: str | None) -> str:
    name = _read_text(values, "tz")
    zone = load_zone(name or prefix or "UTC").key
    if prefix is not None and zone != prefix:
        raise InvalidInputError(f"TZ={prefix} and the time zone {zone} differ. Give one of them.")
    return zone


def _read_text(values: dict[str, Any], name: str) -> str | None:
    text = values.get(name)
    if text is not None and (not isinstance(text, str) or not text):
        raise InvalidInputError(f"{name} must be a string that is not empty.")
    return text


def _read_instant(value: object) -> datetime:
    if value is None:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInputError("from must be an instant with its offset, like 2026-03-08T07:00:00Z.")


def _read_count(value: object) -> int:
    if value is None:
        return DEFAULT_SLOTS
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SLOTS:
        raise InvalidInputError(f"count must be a whole number from 1 to {MAX_SLOTS}.")
    return value


def _read_flag(values: dict[str, Any], name: str) -> bool:
    flag = values.get(name, False)
    if not isinstance(flag, bool):
        raise InvalidInputError(f"{name} must be true or false.")
    return flag


def _read_choice(values: dict[str, Any], name: str, choices: tuple[str, ...]) -> Any:
    choice = values.get(name, choices[0])
    if choice not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}.")
    return choice


def _as_json(found: list[datetime]) -> str:
    return json.dumps({"slots": [format_instant(slot) for slot in found]})


def _as_error(message: str) -> str:
    return json.dumps({"error": message})
