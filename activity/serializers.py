"""The bodies and filters of the activity endpoint."""

from __future__ import annotations

from rest_framework import serializers

from activity.models import ActivityRecord
from commands_platform.lib.http.fields import (
    LINES,
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictCharField,
    UUIDField,
)
from commands_platform.lib.http.filters import InstantFilter, UUIDFilter, WordFilter
from commands_platform.lib.http.outputs import Output
from commands_platform.lib.http.pagination import PageQuery

_MAX_WORD_LENGTH = 255
_MAX_LABEL_LENGTH = 1000


class ActivityInput(NullIsAbsentSerializer[ActivityRecord]):
    category = StrictCharField(max_length=_MAX_WORD_LENGTH)
    action = StrictCharField(max_length=_MAX_WORD_LENGTH)
    # mypy confuses this field with the attribute `label` of serializers.
    label = StrictCharField(  # type: ignore[assignment]
        max_length=_MAX_LABEL_LENGTH,
        allowed_controls=LINES,
        required=False,
        allow_null=True,
        allow_blank=True,
        default=None,
    )
    metadata = JsonObjectField(default=dict)
    user_uuid = UUIDField(required=False, allow_null=True, default=None)


class ActivityQuery(PageQuery):
    """The query of the list."""

    category = WordFilter(max_length=_MAX_WORD_LENGTH)
    action = WordFilter(max_length=_MAX_WORD_LENGTH)
    user_uuid = UUIDFilter("user__uuid")
    since = InstantFilter("created_at__gte", help_text="Records at or after this time.")
    until = InstantFilter("created_at__lt", help_text="Records before this time.")


class ActivityOutput(Output[ActivityRecord]):
    """A record, with the eight documented keys."""

    command = serializers.UUIDField(source="command.uuid")
    organization = serializers.UUIDField(source="organization.uuid")
    user = serializers.UUIDField(source="user.uuid", allow_null=True)
    category = serializers.CharField()
    action = serializers.CharField()
    label = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    metadata = serializers.DictField()
    created_at = InstantField()
