"""The kinds of objects that are audited, of what is done to them, and of who does it."""

from __future__ import annotations

from enum import StrEnum


class ObjectKind(StrEnum):
    """The kind of the object that was changed."""

    API_KEY = "api_key"
    CALENDAR = "calendar"
    COMMAND = "command"
    HOOK = "hook"
    INSTALLATION = "installation"
    ORGANIZATION = "organization"
    SCHEDULE = "schedule"
    USER = "user"


class Verb(StrEnum):
    """The action on the object."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    REVOKED = "revoked"
    ROTATED = "rotated"
    SECRET_ROTATED = "secret_rotated"  # noqa: S105
    SECRETS_SHOWN = "secrets_shown"
    SIGNATURE_ROTATED = "signature_rotated"
    TOKENS_REVOKED = "tokens_revoked"


class ActorKind(StrEnum):
    """A caller of the API, a login to the admin, a person on the command line, or the platform itself."""

    API_KEY = "api_key"
    COMMAND_LINE = "command_line"
    OPERATOR = "operator"
    PLATFORM = "platform"
