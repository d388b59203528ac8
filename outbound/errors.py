"""Errors of callback URLs."""

from __future__ import annotations

from typing import NoReturn

from commands_platform.lib.errors import InvalidInputError


class InvalidCallbackUrlError(InvalidInputError):
    """The callback URL is not valid."""


def refuse(message: str) -> NoReturn:
    """Raises InvalidCallbackUrlError with this message."""
    raise InvalidCallbackUrlError(message)
