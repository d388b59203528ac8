"""Errors of callers and their tokens."""

from __future__ import annotations

from commands_platform.lib.errors import BadRequestError, PlatformError


class InvalidApiKeyError(PlatformError):
    """Invalid API key"""

    code = "authentication_failed"


class AddressNotAllowedError(PlatformError):
    """The API key may not be used from this address. The organization has limited it to other networks."""

    code = "address_not_allowed"


class KeyRevokedError(PlatformError):
    """The API key is revoked, and cannot be changed any more."""

    code = "api_key_revoked"


class MissingTokenError(BadRequestError):
    """You should specify a valid exchange token"""

    code = "missing_token"


class ExchangeNotPossibleError(PlatformError):
    """No exchange token can be made for this user."""

    code = "exchange_not_possible"


class UnknownUserError(ExchangeNotPossibleError):
    """Could not find the user related to "user_uuid\""""


class CommandNotPublicError(ExchangeNotPossibleError):
    """Command is not Public and cannot request exchange tokens of non-same-org users"""


class KeyWithoutCommandError(BadRequestError):
    """The API key must be bound to a command"""

    code = "api_key_without_command"
