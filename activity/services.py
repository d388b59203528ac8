"""Records activity. Records cannot be changed or removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from activity.models import ActivityRecord
from auth_tokens.models import TokenSubject
from commands_platform.lib.errors import InvalidInputError
from organizations.models import User

MAX_METADATA_BYTES = 64 * 1024


def record_activity(
    *,
    token: TokenSubject,
    category: str,
    action: str,
    label: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    user_uuid: UUID | None = None,
) -> ActivityRecord:
    """Adds a record for the token's command and organization, and for the given user or else the token's.

    Raises InvalidInputError if the user belongs to another organization, or if the metadata has more than 64 KiB.
    """
    metadata = dict(metadata or {})
    if len(orjson.dumps(metadata)) > MAX_METADATA_BYTES:
        message = f"The metadata may have {MAX_METADATA_BYTES} bytes of JSON at most."
        raise InvalidInputError(errors={"metadata": [message]})
    return ActivityRecord.objects.create(
        organization=token.organization,
        command=token.command,
        user=token.user if user_uuid is None else _user(token, user_uuid),
        category=category,
        action=action,
        label=label,
        metadata=metadata,
    )


def _user(token: TokenSubject, uuid: UUID) -> User:
    if token.user is not None and token.user.uuid == uuid:
        return token.user
    user = User.objects.filter(uuid=uuid, organization=token.organization).first()
    if user is None:
        raise InvalidInputError(errors={"user_uuid": ["There is no such user in the token's organization."]})
    return user
