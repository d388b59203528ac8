"""Errors of deliveries that are about to be sent."""

from __future__ import annotations

from commands_platform.lib.errors import PlatformError


class InvalidSigningSecretError(PlatformError):
    """The signing secret is not "whsec_" followed by the base64 of 24 to 64 bytes."""

    code = "invalid_signing_secret"
