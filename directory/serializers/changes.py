"""The query and the answer of the audit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import QuerySet
from rest_framework import serializers

from audit.kinds import ActorKind, ObjectKind, Verb
from audit.models import Change
from commands_platform.lib.database.identifiers import first_ledger_id_at
from commands_platform.lib.http.fields import InstantField
from commands_platform.lib.http.filters import ChoiceFilter, InstantFilter, UUIDFilter, WordFilter
from commands_platform.lib.http.outputs import NullIfEmptyField, Output
from commands_platform.lib.http.pagination import ListQuery

MAX_OBJECT_UUID_LENGTH = 36
# Keys are in the order of time, so the index of the list finds a span. But their clock is that of a web host.
_CLOCK_TOLERANCE = timedelta(minutes=10)

_Rows = TypeVar("_Rows", bound=QuerySet[Any])


class _SinceFilter(InstantFilter):
    """Changes from an instant on."""

    def narrow(self, rows: _Rows, value: datetime) -> _Rows:
        return rows.filter(pk__gte=first_ledger_id_at(value - _CLOCK_TOLERANCE), recorded_at__gte=value)


class _UntilFilter(InstantFilter):
    """Changes before an instant."""

    def narrow(self, rows: _Rows, value: datetime) -> _Rows:
        return rows.filter(pk__lt=first_ledger_id_at(value + _CLOCK_TOLERANCE), recorded_at__lt=value)


class ChangeQuery(ListQuery):
    """The filters of the audit."""

    object_kind = ChoiceFilter(choices=[kind.value for kind in ObjectKind])
    object_uuid = WordFilter(
        max_length=MAX_OBJECT_UUID_LENGTH, help_text="A UUID, or the number of a hook or a calendar."
    )
    verb = ChoiceFilter(choices=[verb.value for verb in Verb])
    actor_kind = ChoiceFilter(choices=[kind.value for kind in ActorKind])
    actor_uuid = UUIDFilter(help_text="The UUID of an API key.")
    since = _SinceFilter(help_text="Changes from this instant on.")
    until = _UntilFilter(help_text="Changes before this instant.")


class ChangeOutput(Output[Change]):
    """One change. `hash` covers all other keys and the hash of the change before it."""

    uuid = serializers.UUIDField()
    recorded_at = InstantField()
    verb = serializers.ChoiceField(choices=[verb.value for verb in Verb])
    object_kind = serializers.ChoiceField(choices=[kind.value for kind in ObjectKind])
    object_uuid = serializers.CharField(help_text="A UUID, or the number of a hook or a calendar.")
    object_name = serializers.CharField()
    old = serializers.DictField(help_text="The values before.")
    new = serializers.DictField(help_text="The values after.")
    actor_kind = serializers.ChoiceField(choices=[kind.value for kind in ActorKind])
    actor_uuid = serializers.UUIDField(allow_null=True, help_text="The UUID of the API key.")
    actor_name = serializers.CharField(help_text="The API key, the operator's login, or the process.")
    actor_address = serializers.CharField(help_text="The address of the client, or empty.")
    correlation_id = serializers.CharField(help_text="That of the request, or empty.")
    position = serializers.IntegerField(allow_null=True, help_text="The place in the chain. Null: not sealed yet.")
    hash = NullIfEmptyField()
