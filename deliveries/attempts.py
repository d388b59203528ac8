"""The record of one attempt, and the compact text in which the ledger stores it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson
from django.db import models

from commands_platform.lib.instants import format_instant

if TYPE_CHECKING:
    _TextField = models.TextField[Iterable["Attempt"], list["Attempt"]]
else:
    _TextField = models.TextField

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OMITTED = (None, "")


class Timings(NamedTuple):
    """How long each part of an attempt took, in microseconds."""

    dns: int
    connect: int
    tls: int
    first_byte: int
    total: int


class Attempt(NamedTuple):
    """One attempt. Either `status` or `error` is set. Without `timings`, no request could be made."""

    number: int
    started_at: datetime
    status: int | None = None
    error: str | None = None
    timings: Timings | None = None
    address: str | None = None
    message: str = ""
    response: str = ""

    def stored(self) -> str:
        """Returns one line with a JSON array of the values.

        It has the status or the error, the start in microseconds since 1970, and no empty values at its end.
        """
        started_at = (self.started_at - _EPOCH) // _MICROSECOND
        outcome = self.error if self.status is None else self.status
        timings = self.timings and tuple(self.timings)
        values = [self.number, started_at, outcome, timings, self.address, self.message, self.response]
        while values[-1] in _OMITTED:
            values.pop()
        return orjson.dumps(values).decode() + "\n"

    @classmethod
    def from_stored(cls, line: str) -> Self:
        """Returns the attempt that `stored` made this line of."""
        values = orjson.loads(line)
        number, started_at, outcome, timings, address, message, response = values + [None] * (7 - len(values))
        is_status = isinstance(outcome, int)
        return cls(
            number=number,
            started_at=_EPOCH + started_at * _MICROSECOND,
            status=outcome if is_status else None,
            error=None if is_status else outcome,
            timings=timings and Timings(*timings),
            address=address,
            message=message or "",
            response=response or "",
        )

    def shown(self) -> dict[str, object]:
        """Returns the record as the API shows it, with times in milliseconds."""
        record: dict[str, object] = {
            "number": self.number,
            "started_at": format_instant(self.started_at),
            "status": self.status,
            "error": self.error,
            "message": self.message,
        }
        if self.timings is None:
            return record
        parts = {f"{name}_ms": value / 1000 for name, value in self.timings._asdict().items()}
        return {**record, **parts, "address": self.address, "response": self.response}


class AttemptsField(_TextField):
    """The attempts of a delivery in order, one line each. A statement adds one by appending its line."""

    def from_db_value(self, value: str, *_context: object) -> list[Attempt]:
        return [Attempt.from_stored(line) for line in value.split("\n")[:-1]]

    def get_prep_value(self, value: Any) -> str:
        return "".join(attempt.stored() for attempt in value)
