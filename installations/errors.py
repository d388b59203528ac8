"""Errors of installing a command."""

from __future__ import annotations

from commands_platform.lib.errors import PlatformError


class AlreadyInstalledError(PlatformError):
    """The organization has installed this command already."""

    code = "already_installed"
