"""The bodies and filters of the activity endpoint."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from activity.models import ActivityRecord
from auth_tokens.models import TokenSubject
from commands_platform.lib.http.fields import (
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictCharField,
    UUIDField,
)
from commands_platform.lib.instants import format_instant

_WORD_LENGTH = 255
_LABEL_LENGTH = 1000


class ActivityInput(NullIsAbsentSerializer[ActivityRecord]):
    category = StrictCharField(max_length=_WORD_LENGTH)
    action = StrictCharField(max_length=_WORD_LENGTH)
    label = StrictCharField(  # type: ignore[assignment]  # a field of this name, not the form's caption
        max_length=_LABEL_LENGTH, any_characters=True, required=False, allow_null=True, allow_blank=True, default=None
    )
    metadata = JsonObjectField(default=dict)
    user_uuid = UUIDField(required=False, allow_null=True, default=None)


class ActivityFilters(serializers.Serializer[Any]):
    """What the listing may be narrowed down to: `since` is part of the span, `until` is not."""

    category = StrictCharField(max_length=_WORD_LENGTH, required=False)
    action = StrictCharField(max_length=_WORD_LENGTH, required=False)
    user_uuid = UUIDField(required=False)
    since = InstantField(required=False)
    until = InstantField(required=False)


class ActivityOutput(serializers.Serializer[ActivityRecord]):
    """A record as documented: these eight keys."""

    command = serializers.UUIDField()
    organization = serializers.UUIDField()
    user = serializers.UUIDField(allow_null=True)
    category = serializers.CharField()
    action = serializers.CharField()
    label = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    metadata = serializers.DictField()
    created_at = serializers.DateTimeField()


def activity_output(record: ActivityRecord, token: TokenSubject) -> dict[str, object]:
    """The eight documented keys of a record of the token's command and organization."""
    return {
        "command": token.command.uuid,
        "organization": token.organization.uuid,
        "user": record.user.uuid if record.user else None,
        "category": record.category,
        "action": record.action,
        "label": record.label,
        "metadata": record.metadata,
        "created_at": format_instant(record.created_at),
    }
