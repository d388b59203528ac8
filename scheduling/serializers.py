"""The scheduling endpoints' bodies. What a schedule may be is decided by the services; here only shapes are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from commands_platform.lib.http.fields import (
    BoundedListField,
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    UUIDField,
)
from commands_platform.lib.http.renderers import RawJson
from commands_platform.lib.instants import format_instant
from deliveries.masking import shown_attempts
from deliveries.models import Delivery, State
from deliveries.services import REDELIVERABLE_STATES
from scheduling.models import (
    FOREVER,
    MAX_SCHEDULE_ATTEMPTS,
    GapRule,
    MisfirePolicy,
    OverlapRule,
    ScheduledExecution,
    TimezoneType,
)

_LARGEST_INTEGER = 2**31 - 1
_URL_LENGTH = 2048
MOST_REDELIVERIES = 1000


class _Text(StrictCharField):
    """Text where null and "" both mean: none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_blank=True, allow_null=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation("" if data is None else data)


class ScheduledExecutionChanges(NullIsAbsentSerializer[ScheduledExecution]):
    """The fields that may be changed; each is optional."""

    never_null = frozenset({"name"})

    name = StrictCharField(max_length=255, required=False)
    execution_frequency = StrictIntegerField(min_value=0, max_value=_LARGEST_INTEGER, required=False)
    cron = _Text(max_length=255)
    repeats = StrictIntegerField(min_value=FOREVER, max_value=_LARGEST_INTEGER, required=False)
    payload = JsonObjectField(required=False)
    timezone_type = serializers.ChoiceField(choices=TimezoneType.choices, required=False)
    timezone = _Text(max_length=64)
    callback_url = _Text(max_length=_URL_LENGTH)
    is_active = StrictBooleanField(required=False)
    description = _Text(max_length=2000, any_characters=True)
    cron_seconds = StrictBooleanField(required=False)
    dst_gap = serializers.ChoiceField(choices=GapRule.choices, required=False)
    dst_overlap = serializers.ChoiceField(choices=OverlapRule.choices, required=False)
    starts_at = InstantField(required=False, allow_null=True)
    ends_at = InstantField(required=False, allow_null=True)
    misfire_policy = serializers.ChoiceField(choices=MisfirePolicy.choices, required=False)
    misfire_grace = StrictIntegerField(min_value=0, max_value=_LARGEST_INTEGER, required=False)
    skip_overlapping = StrictBooleanField(required=False)
    timeout = StrictIntegerField(min_value=1, max_value=30, required=False, allow_null=True)
    max_attempts = StrictIntegerField(min_value=1, max_value=MAX_SCHEDULE_ATTEMPTS, required=False, allow_null=True)
    headers = JsonObjectField(required=False)


class ScheduledExecutionInput(ScheduledExecutionChanges):
    """A new schedule."""

    name = StrictCharField(max_length=255)
    command_uuid = UUIDField(required=False, allow_null=True)
    is_owned_by_user = StrictBooleanField(default=True)


class ScheduledExecutionCreated(serializers.Serializer[ScheduledExecution]):
    uuid = serializers.UUIDField()


class ScheduledExecutionOutput(serializers.Serializer[ScheduledExecution]):
    """A schedule as documented: these nine keys."""

    uuid = serializers.UUIDField()
    name = serializers.CharField()
    timezone_type = serializers.CharField()
    is_active = serializers.BooleanField()
    cron = serializers.CharField(allow_null=True)
    execution_frequency = serializers.IntegerField()
    repeats = serializers.IntegerField()
    payload = serializers.DictField()
    callback_url = serializers.CharField(allow_null=True)


def schedule_output(schedule: ScheduledExecution) -> dict[str, object]:
    """The nine documented keys of a schedule."""
    return {
        "uuid": schedule.uuid,
        "name": schedule.name,
        "timezone_type": schedule.timezone_type,
        "is_active": schedule.is_active,
        "cron": schedule.cron or None,
        "execution_frequency": schedule.execution_frequency,
        "repeats": schedule.repeats,
        "payload": schedule.payload,
        "callback_url": schedule.effective_callback_url or None,
    }


class SlotFilters(serializers.Serializer[Delivery]):
    """What the slots may be narrowed down to: `from` is part of the span, `to` is not."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is no name that a class could declare.
        return {
            "from": InstantField(required=False),
            "to": InstantField(required=False),
            "state": serializers.ChoiceField(choices=State.choices, required=False),
            "cursor": InstantField(required=False),
        }


class SlotOutput(serializers.Serializer[Delivery]):
    """One row of the ledger: a slot, or a run of skipped ones from `due_at` to `last_due_at`."""

    uuid = serializers.UUIDField()
    kind = serializers.CharField()
    due_at = InstantField()
    last_due_at = InstantField(allow_null=True)
    slot_count = serializers.IntegerField()
    state = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    attempts = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True)
    next_attempt_at = InstantField(allow_null=True)
    finished_at = InstantField(allow_null=True)
    url = serializers.CharField(allow_null=True)


class SlotPage(serializers.Serializer[Delivery]):
    next = serializers.CharField(allow_null=True)
    results = SlotOutput(many=True)


class SlotDetailOutput(SlotOutput):
    attempt_records = serializers.ListField(child=serializers.DictField())
    body = serializers.DictField(allow_null=True)


class RedeliveryInput(serializers.Serializer[Delivery]):
    """Which finished slots are to be sent once more."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "from": InstantField(),
            "to": InstantField(),
            "states": BoundedListField(
                child=serializers.ChoiceField(choices=[state.value for state in REDELIVERABLE_STATES]),
                max_length=len(REDELIVERABLE_STATES),
                allow_empty=False,
                default=lambda: [State.FAILED.value],
            ),
            "dry_run": StrictBooleanField(default=False),
            "limit": StrictIntegerField(min_value=1, max_value=MOST_REDELIVERIES, default=MOST_REDELIVERIES),
        }


class RedeliveryOutput(serializers.Serializer[Delivery]):
    count = serializers.IntegerField()
    dry_run = serializers.BooleanField()


def slot_output(delivery: Delivery) -> dict[str, object]:
    """What the list of slots tells of one row."""
    return {
        "uuid": delivery.pk,
        "kind": delivery.kind,
        "due_at": delivery.due_at,
        "last_due_at": delivery.last_due_at,
        "slot_count": delivery.slot_count,
        "state": delivery.state,
        "reason": delivery.reason or None,
        "attempts": delivery.attempt_count,
        "status": delivery.last_status,
        "next_attempt_at": delivery.next_attempt_at,
        "finished_at": delivery.finished_at,
        "url": delivery.url or None,
    }


def slot_detail_output(delivery: Delivery) -> dict[str, object]:
    """The same, with the records of its attempts and the body as it is stored."""
    return slot_output(delivery) | {
        "attempt_records": shown_attempts(delivery),
        "body": RawJson(delivery.body) if delivery.body else None,
    }


def _last_delivery(schedule: ScheduledExecution) -> dict[str, object] | None:
    delivery = schedule.last_delivery()
    if delivery is None:
        return None
    return {
        "uuid": delivery.id,
        "due_at": format_instant(delivery.due_at),
        "state": delivery.state,
        "reason": delivery.reason or None,
        "attempts": delivery.attempt_count,
        "status": delivery.last_status,
        "finished_at": format_instant(delivery.finished_at) if delivery.finished_at else None,
    }


# What `?expand=` can add, by the names that it takes.
EXPANSIONS: dict[str, Callable[[ScheduledExecution], object]] = {
    "next_run_at": lambda schedule: (
        format_instant(schedule.next_run_at) if schedule.is_active and schedule.next_run_at else None
    ),
    "last_delivery": _last_delivery,
    "timezone": lambda schedule: schedule.zone,
    "command_uuid": lambda schedule: schedule.command.uuid,
    "user_uuid": lambda schedule: schedule.owner.uuid if schedule.owner else None,
    "deactivation_reason": lambda schedule: schedule.deactivation_reason or None,
    "description": lambda schedule: schedule.description,
    "cron_seconds": lambda schedule: schedule.cron_seconds,
    "dst_gap": lambda schedule: schedule.dst_gap,
    "dst_overlap": lambda schedule: schedule.dst_overlap,
    "starts_at": lambda schedule: format_instant(schedule.starts_at) if schedule.starts_at else None,
    "ends_at": lambda schedule: format_instant(schedule.ends_at) if schedule.ends_at else None,
    "misfire_policy": lambda schedule: schedule.misfire_policy,
    "misfire_grace": lambda schedule: schedule.misfire_grace,
    "skip_overlapping": lambda schedule: schedule.skip_overlapping,
    "timeout": lambda schedule: schedule.timeout,
    "max_attempts": lambda schedule: schedule.max_attempts,
    # A header may hold a receiver's secret: its name alone is told.
    "headers": lambda schedule: sorted(schedule.headers),
    "created_at": lambda schedule: format_instant(schedule.created_at),
    "updated_at": lambda schedule: format_instant(schedule.updated_at),
}
