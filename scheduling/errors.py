"""The errors of schedules."""

from __future__ import annotations

from commands_platform.lib.errors import BadRequestError, InvalidInputError, PlatformError
from commands_platform.lib.zones import InvalidTimezoneError

__all__ = [
    "CalendarExistsError",
    "CalendarInUseError",
    "ExternalIdTakenError",
    "InvalidCommandError",
    "InvalidCronError",
    "InvalidEveryError",
    "InvalidTimezoneError",
    "MissingTokenOrCommandError",
    "NotActiveError",
    "NotRedeliverableError",
]


class InvalidCronError(InvalidInputError):
    """The cron expression is not valid."""

    def __init__(
        self, reason: str, *, field: str | None = None, position: int | None = None, number: int | None = None
    ) -> None:
        """Says in the message where the error is: expression `number` of several, the `field`, and the `position`.

        `number` and `position` count from 1. The position counts the characters of the expression.
        """
        self.reason = reason
        self.field = field
        self.position = position
        place = [f"expression {number}"] if number is not None else []
        if field:
            place.append(f"{field} field")
        if position is not None:
            place.append(f"character {position}")
        where = ", ".join(place)
        message = f"{where}: {reason}" if where else reason
        super().__init__(errors={"cron": [message[:1].upper() + message[1:]]})

    def of_expression(self, number: int) -> InvalidCronError:
        """Returns the same error with the number of the expression that it is about."""
        return InvalidCronError(self.reason, field=self.field, position=self.position, number=number)


class InvalidEveryError(InvalidInputError):
    """The period on the wall clock is not valid."""

    def __init__(self, reason: str) -> None:
        super().__init__(errors={"every": [reason]})


class CalendarExistsError(PlatformError):
    """There is a calendar of this name already. PUT replaces its days."""

    code = "calendar_exists"


class CalendarInUseError(PlatformError):
    """Schedules name the calendar."""

    code = "calendar_in_use"

    def __init__(self, count: int = 3) -> None:
        schedules = "1 schedule names" if count == 1 else f"{count} schedules name"
        super().__init__(f"{schedules} the calendar in except. Change that first.")


class ExternalIdTakenError(InvalidInputError):
    """Another schedule of the command has this external_id."""

    def __init__(self) -> None:
        super().__init__(errors={"external_id": [type(self).__doc__ or ""]})


class MissingTokenOrCommandError(BadRequestError):
    """You should specify an exchange token or valid command"""

    code = "missing_token_or_command"


class InvalidCommandError(BadRequestError):
    """Command is not valid. It must be owned by the same API Key organization owner"""

    code = "invalid_command_specified"


class NotActiveError(BadRequestError):
    """It is not active."""

    code = "not_active"


class NotRedeliverableError(BadRequestError):
    """It cannot be sent again: it is not finished, it never had anything to send, or it was tried too often already."""

    code = "not_redeliverable"
