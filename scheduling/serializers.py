"""The bodies of the scheduling endpoints. Only shapes are checked here. The services check the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from rest_framework import serializers

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.http.cursors import SortField
from commands_platform.lib.http.fields import (
    LINES,
    BoundedListField,
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    StrictIntegerField,
    UUIDField,
)
from commands_platform.lib.http.filters import (
    BooleanFilter,
    ChoiceFilter,
    InstantFilter,
    QueryInstantField,
    SearchFilter,
    UUIDFilter,
    WordFilter,
)
from commands_platform.lib.http.outputs import ExpandField, NullIfEmptyField, Output
from commands_platform.lib.http.pagination import CursorQuery, ListQuery
from commands_platform.lib.http.renderers import RawJson
from commands_platform.lib.http.unknown_fields import MAX_NAMED_FIELDS, MeantFields, unknown_message
from deliveries.bodies import whole_body
from deliveries.masking import shown_attempts
from deliveries.models import Delivery, Kind, State
from deliveries.services import REDELIVERABLE_STATES
from scheduling.fields import (
    CronField,
    CronOutputField,
    EveryField,
    EveryOutputField,
    ExceptField,
    ExceptOutputField,
    TagsField,
)
from scheduling.languages import current_language
from scheduling.models import (
    FOREVER,
    MAX_MISFIRE_GRACE,
    MAX_SCHEDULE_ATTEMPTS,
    DeactivationReason,
    GapRule,
    MisfirePolicy,
    OverlapPolicy,
    OverlapRule,
    ScheduledExecution,
    TimezoneType,
)
from scheduling.prefetching import prefetch_excluded_days, prefetch_last_deliveries
from scheduling.spread import MAX_SPREAD
from scheduling.words import describe

_MAX_COLUMN_INTEGER = 2**31 - 1
_MAX_URL_LENGTH = 2048
MAX_EXTERNAL_ID_LENGTH = 255
MAX_TAGS = 16
MAX_TAG_LENGTH = 64
MAX_REDELIVERIES = 1000
# The fields that keep a schedule from running at once.
_TIMING_FIELDS = ("cron", "every", "execution_frequency", "starts_at")


class ScheduledExecutionChanges(NullIsAbsentSerializer[ScheduledExecution], MeantFields):
    """The fields that may be changed. All are optional."""

    never_null = frozenset({"name"})
    meant = {
        **dict.fromkeys(("expression", "schedule", "crontab"), "cron"),
        **dict.fromkeys(("interval", "frequency", "period"), "execution_frequency"),
        **dict.fromkeys(("runat", "when", "delay", "at", "start", "dueat", "scheduledat", "scheduledfor"), "starts_at"),
        "runafter": "starts_at",
        "cron": "cron",
    }
    telling_words = frozenset(("cron", "crontab", "interval", "frequency", "delay"))

    name = StrictCharField(max_length=255, required=False)
    execution_frequency = StrictIntegerField(min_value=0, max_value=_MAX_COLUMN_INTEGER, required=False)
    cron = CronField()
    every = EveryField()
    spread = StrictIntegerField(min_value=0, max_value=MAX_SPREAD, required=False)
    repeats = StrictIntegerField(min_value=FOREVER, max_value=_MAX_COLUMN_INTEGER, required=False)
    payload = JsonObjectField(required=False)
    timezone_type = StrictChoiceField(choices=TimezoneType.choices, required=False)
    timezone = StrictCharField(max_length=64, null_is_empty=True)
    callback_url = StrictCharField(max_length=_MAX_URL_LENGTH, null_is_empty=True)
    is_active = StrictBooleanField(required=False)
    description = StrictCharField(max_length=2000, null_is_empty=True, allowed_controls=LINES)
    external_id = StrictCharField(max_length=MAX_EXTERNAL_ID_LENGTH, null_is_empty=True)
    tags = TagsField(child=StrictCharField(max_length=MAX_TAG_LENGTH), max_length=MAX_TAGS)
    cron_seconds = StrictBooleanField(required=False)
    dst_gap = StrictChoiceField(choices=GapRule.choices, required=False)
    dst_overlap = StrictChoiceField(choices=OverlapRule.choices, required=False)
    starts_at = InstantField(required=False, allow_null=True)
    ends_at = InstantField(required=False, allow_null=True)
    misfire_policy = StrictChoiceField(choices=MisfirePolicy.choices, required=False)
    misfire_grace = StrictIntegerField(min_value=0, max_value=MAX_MISFIRE_GRACE, required=False)
    overlap = StrictChoiceField(choices=OverlapPolicy.choices, required=False)
    timeout = StrictIntegerField(min_value=1, max_value=30, required=False, allow_null=True)
    max_attempts = StrictIntegerField(min_value=1, max_value=MAX_SCHEDULE_ATTEMPTS, required=False, allow_null=True)
    headers = JsonObjectField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # A class cannot declare the name `except`.
        return {**super().get_fields(), "except": ExceptField()}


class ScheduledExecutionInput(ScheduledExecutionChanges):
    """A new schedule."""

    def refuses(self, data: Mapping[str, Any], unknown: Iterable[str]) -> dict[str, str]:
        """Refuses a field that looks like a misspelt timing. Without a timing, the schedule would run at once."""
        if data.get("cron") or data.get("every") or data.get("execution_frequency"):
            return {}
        # Comparing names is slow, so only the first fields of a very large body are checked for typos.
        looks_like = {name: self.meant_by(name, _TIMING_FIELDS) for name in islice(unknown, MAX_NAMED_FIELDS)}
        return {name: unknown_message(field) for name, field in looks_like.items() if field is not None}

    name = StrictCharField(max_length=255)
    command_uuid = UUIDField(required=False, allow_null=True)
    is_owned_by_user = StrictBooleanField(default=True)


class ScheduledExecutionCreatedOutput(Output[ScheduledExecution]):
    uuid = serializers.UUIDField()


class LastDeliveryOutput(Output[Delivery]):
    """The ledger row of a schedule's latest slot."""

    uuid = serializers.UUIDField(source="pk")
    due_at = InstantField()
    state = serializers.ChoiceField(choices=State.choices)
    reason = NullIfEmptyField()
    attempts = serializers.IntegerField(source="attempt_count")
    status = serializers.IntegerField(source="last_status", allow_null=True)
    finished_at = InstantField(allow_null=True)


class ScheduledExecutionOutput(Output[ScheduledExecution]):
    """A schedule: the nine documented keys, and the keys that `?expand=` asks for."""

    prefetches = {"last_delivery": prefetch_last_deliveries, "next_run_at": prefetch_excluded_days}

    uuid = serializers.UUIDField()
    name = serializers.CharField()
    timezone_type = serializers.ChoiceField(choices=TimezoneType.choices)
    is_active = serializers.BooleanField()
    cron = CronOutputField()
    execution_frequency = serializers.IntegerField()
    repeats = serializers.IntegerField(help_text="Number of runs left. -1: it runs for ever.")
    payload = serializers.DictField()
    callback_url = NullIfEmptyField(source="effective_callback_url", help_text="The URL that is called.")

    next_run_at = InstantField(required=False, allow_null=True)
    last_delivery = LastDeliveryOutput(required=False, allow_null=True)
    timezone = serializers.CharField(source="zone", required=False)
    command_uuid = serializers.UUIDField(source="command.uuid", required=False)
    user_uuid = serializers.UUIDField(source="owner.uuid", required=False, allow_null=True)
    deactivation_reason = NullIfEmptyField(required=False)
    pause_reason = NullIfEmptyField(required=False)
    paused_until = InstantField(required=False, allow_null=True)
    description = serializers.CharField(required=False)
    external_id = NullIfEmptyField(required=False)
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    every = EveryOutputField(required=False)
    spread = serializers.IntegerField(required=False)
    cron_seconds = serializers.BooleanField(required=False)
    dst_gap = serializers.ChoiceField(choices=GapRule.choices, required=False)
    dst_overlap = serializers.ChoiceField(choices=OverlapRule.choices, required=False)
    starts_at = InstantField(required=False, allow_null=True)
    ends_at = InstantField(required=False, allow_null=True)
    misfire_policy = serializers.ChoiceField(choices=MisfirePolicy.choices, required=False)
    misfire_grace = serializers.IntegerField(required=False)
    overlap = serializers.ChoiceField(choices=OverlapPolicy.choices, required=False)
    timeout = serializers.IntegerField(required=False, allow_null=True)
    max_attempts = serializers.IntegerField(required=False, allow_null=True)
    headers = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="The names of the headers. Their values are never shown.",
    )
    created_at = InstantField(required=False)
    updated_at = InstantField(required=False)
    timing_text = serializers.CharField(
        required=False, allow_null=True, help_text="The rule in words, in the language of `Accept-Language`: en or es."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "except": ExceptOutputField(required=False)}

    @staticmethod
    def get_next_run_at(schedule: ScheduledExecution) -> datetime | None:
        """Returns when it runs next, or None if it is not active."""
        return schedule.next_run() if schedule.is_active else None

    @staticmethod
    def get_timing_text(schedule: ScheduledExecution) -> str | None:
        """Returns the rule in words, or None if it can no longer be read."""
        try:
            return describe(schedule.recurrence, current_language.get())
        except InvalidInputError:
            return None

    @staticmethod
    def get_headers(schedule: ScheduledExecution) -> list[str]:
        """Returns only the names, because a value may be a receiver's secret."""
        return sorted(schedule.sent_headers)


class ExpandQuery(serializers.Serializer[ScheduledExecution]):
    """The query of one schedule."""

    expand = ExpandField(ScheduledExecutionOutput)


class ScheduledExecutionQuery(ExpandQuery, ListQuery):
    """The query of the list of schedules."""

    is_active = BooleanFilter()
    command_uuid = UUIDFilter("command__uuid")
    owner = UUIDFilter("owner__uuid", help_text="The UUID of the user that it runs as.")
    q = SearchFilter("name", help_text="A part of the name.")
    external_id = WordFilter(max_length=MAX_EXTERNAL_ID_LENGTH)
    tag = WordFilter("tags", operator="overlap", max_length=MAX_TAG_LENGTH)
    deactivation_reason = ChoiceFilter(choices=DeactivationReason.choices)
    next_run_after = InstantFilter(
        "next_run_at__gte", also={"is_active": True}, help_text="Its next run is at or after this instant."
    )
    next_run_before = InstantFilter(
        "next_run_at__lt", also={"is_active": True}, help_text="Its next run is before this instant."
    )
    sort = SortField(created_at="id", updated_at="updated_at", name="name", next_run_at=("-is_active", "next_run_at"))


class SlotQuery(CursorQuery):
    """The query of a list of slots. The span includes `from` but not `to`."""

    state = ChoiceFilter(choices=State.choices)
    order = StrictChoiceField(choices=["asc", "desc"], required=False, help_text="`desc`: the newest slots first.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # A class cannot declare the name `from`.
        return {
            **super().get_fields(),
            "from": QueryInstantField(required=False, help_text="Slots from this instant on."),
            "to": InstantFilter("due_at__lt", help_text="Slots before this instant."),
        }


class SlotOutput(Output[Delivery]):
    """One row of the ledger: a slot, or several skipped slots from `due_at` to `last_due_at`."""

    uuid = serializers.UUIDField(source="pk")
    kind = serializers.ChoiceField(choices=Kind.choices)
    due_at = InstantField()
    last_due_at = InstantField(allow_null=True)
    slot_count = serializers.IntegerField()
    state = serializers.ChoiceField(choices=State.choices)
    reason = NullIfEmptyField(help_text="Why it was not delivered.")
    attempts = serializers.IntegerField(source="attempt_count")
    status = serializers.IntegerField(source="last_status", allow_null=True)
    next_attempt_at = InstantField(allow_null=True)
    finished_at = InstantField(allow_null=True)
    url = NullIfEmptyField()


class SlotPageOutput(Output[Delivery]):
    """A page of slots. It has no count, because counting a long history would be slow."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = SlotOutput(many=True)


class SlotDetailOutput(SlotOutput):
    """A slot with the records of its attempts and the body that is sent, without the exchange token."""

    correlation_id = serializers.CharField(help_text="The `X-Correlation-Id` that is sent.")
    attempt_records = serializers.ListField(child=serializers.DictField())
    body = serializers.DictField(allow_null=True)

    @staticmethod
    def get_correlation_id(delivery: Delivery) -> str:
        """Returns that of the request that caused the delivery, or else the delivery's own id."""
        return delivery.correlation_id or str(delivery.pk)

    @staticmethod
    def get_attempt_records(delivery: Delivery) -> list[dict[str, object]]:
        """Returns the records, without secrets that a receiver may have sent back."""
        return [attempt.shown() for attempt in shown_attempts(delivery)]

    @staticmethod
    def get_body(delivery: Delivery) -> RawJson | None:
        """Returns the body without an exchange token and with attempt 0."""
        body = whole_body(delivery)
        return RawJson(body) if body else None


class RedeliveryInput(serializers.Serializer[Delivery]):
    """The finished slots that are to be redelivered."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "from": InstantField(),
            "to": InstantField(),
            "states": BoundedListField(
                child=StrictChoiceField(choices=[state.value for state in REDELIVERABLE_STATES]),
                max_length=len(REDELIVERABLE_STATES),
                allow_empty=False,
                default=lambda: [State.FAILED.value],
            ),
            "dry_run": StrictBooleanField(default=False),
            "limit": StrictIntegerField(min_value=1, max_value=MAX_REDELIVERIES, default=MAX_REDELIVERIES),
        }


class RedeliveryOutput(Output[Delivery]):
    count = serializers.IntegerField(help_text="The number of slots that are sent again, or with `dry_run` would be.")
    dry_run = serializers.BooleanField()
