"""What can be wrong with a URL that callbacks are to be sent to."""

from __future__ import annotations

from commands_platform.lib.errors import InvalidInputError


class InvalidCallbackUrlError(InvalidInputError):
    """The callback URL is not valid."""
