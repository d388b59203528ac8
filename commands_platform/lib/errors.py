"""The errors that apps raise. `lib.http.exception_handler` turns each into an HTTP answer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar


class PlatformError(Exception):
    """The request could not be carried out."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        self.message = message if message is not None else inspect.cleandoc(self.__doc__ or "")
        super().__init__(self.message)


class InvalidInputError(PlatformError):
    """The input is not valid."""

    code = "params_validation_error"

    def __init__(self, message: str | None = None, *, errors: Mapping[str, Sequence[str]] | None = None) -> None:
        """`errors` maps the name of a field to its messages. The default of `message` is the first of these."""
        self.errors: dict[str, list[str]] = {field: list(messages) for field, messages in (errors or {}).items()}
        first = next((messages[0] for messages in self.errors.values() if messages), None)
        super().__init__(message if message is not None else first)


class BadRequestError(PlatformError):
    """The request is not valid."""

    code = "bad_request"


class UnknownParameterError(BadRequestError):
    """The query string has a parameter that the endpoint does not know."""

    code = "unknown_parameter"

    def __init__(self, name: str = "limt", known: Iterable[str] = ("limit", "offset")) -> None:
        super().__init__(f'There is no parameter "{name}" here. The known ones are: {", ".join(sorted(known))}.')


class NotFoundError(PlatformError):
    """Not found."""

    code = "not_found"


class PermissionDeniedError(PlatformError):
    """You do not have permission to perform this action."""

    code = "permission_denied"


class InvalidIdempotencyKeyError(BadRequestError):
    """The Idempotency-Key must have 1 to 255 printable ASCII characters."""

    code = "invalid_idempotency_key"


class IdempotencyMismatchError(PlatformError):
    """Another request has used this Idempotency-Key. Use a new key for each operation."""

    code = "idempotency_key_payload_mismatch"


class IdempotencyInProgressError(PlatformError):
    """A request with this Idempotency-Key is still running. Try again in a moment."""

    code = "idempotency_in_progress"


class PreconditionFailedError(PlatformError):
    """The object has changed since the version in If-Match. Read it again."""

    code = "precondition_failed"


class BusyError(PlatformError):
    """Somebody else is changing the same thing right now. Try again in a moment."""

    code = "busy"
