"""The errors of storage."""

from __future__ import annotations

from commands_platform.lib.errors import BadRequestError, PlatformError


class MissingContextError(BadRequestError):
    """You must provide either a valid exchange token or a namespace parameter"""

    code = "missing_context"


class VersionConflictError(PlatformError):
    """The item does not have the version that if_version names"""

    code = "version_conflict"
