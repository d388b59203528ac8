"""Schedules: what is to be called, when, how often, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery

from auth_tokens.models import CallerContext
from commands_platform.lib import clock
from commands_platform.lib.database.encrypted import EncryptedValuesField
from commands_platform.lib.json.column import JsonTextField
from deliveries.models import Delivery, DeliveryQuerySet, Reason
from organizations.models import Command, Organization, User
from outbound.address_guard import origin_of
from scheduling import walks  # noqa: F401  # models are registered where Django looks for them
from scheduling.recurrence import Recurrence

FOREVER = -1
# The attempts that a schedule may ask for.
MAX_SCHEDULE_ATTEMPTS = 20
# One day, in seconds.
MAX_MISFIRE_GRACE = 86_400


class TimezoneType(models.TextChoices):
    ORGANIZATION = "organization_timezone"
    USER = "user_timezone"
    CUSTOM = "custom_timezone"


class DeactivationReason(models.TextChoices):
    COMPLETED = "completed", "it has run as often as it should"
    PAUSED = "paused", "it was paused"
    INVALID = "invalid", "its slots can no longer be computed"
    FAILING = "failing", "its callbacks have failed for too long"
    UNINSTALLED = "uninstalled", "its command was removed from the organization"
    GONE = "gone", "its receiver answered that it is gone for good"


class MisfirePolicy(models.TextChoices):
    """Says which slots run that were missed while the server was down. The others are recorded as skipped."""

    FIRE_LATEST = "fire_latest"
    SKIP = "skip"
    FIRE_ALL = "fire_all"


class OverlapPolicy(models.TextChoices):
    """Decides on a slot that is due while a run of the same schedule is being sent."""

    ALLOW = "allow", "it is sent too"
    SKIP = "skip", "it is skipped"
    QUEUE_ONE = "queue_one", "it waits for that run to end, if no other slot waits already"


class GapRule(models.TextChoices):
    RUN_AFTER = "run_after"
    SKIP = "skip"


class OverlapRule(models.TextChoices):
    FIRST = "first"
    BOTH = "both"


class ScheduledExecutionQuerySet(models.QuerySet["ScheduledExecution"]):
    def visible_to(self, context: CallerContext) -> ScheduledExecutionQuerySet:
        """Returns those that the caller may see. Raises MissingTokenError for a void token.

        With a token they are those of its organization, else those of the key's organization that no user owns. A
        bound key sees those of its command, another those of its organization's commands: so a public command never
        reads what another organization's users scheduled with theirs. A manager sees all of its own organization.
        """
        token = context.optional_token()
        organization = context.organization if token is None else token.organization
        schedules = self.filter(organization=organization)
        if context.is_manager and organization == context.organization:
            return schedules
        if context.api_key.command_id is not None:
            schedules = schedules.filter(command=context.api_key.command_id)
        else:
            schedules = schedules.filter(command__organization=context.organization)
        return schedules if token is not None else schedules.filter(owner=None)

    def active(self) -> ScheduledExecutionQuerySet:
        return self.filter(is_active=True)


class ScheduledExecution(models.Model):
    """A call that is made once, periodically, or by cron expressions."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    # Each run of a schedule writes an entry in each of its indexes, so only what is searched by has one.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="scheduled_executions", db_index=False
    )
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="scheduled_executions", db_index=False)
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="scheduled_executions", db_index=False,
        help_text="Whom it runs as; empty: the command and the organization alone.",
    )  # fmt: skip
    name = models.CharField(max_length=255)
    is_active = models.BooleanField(default=True)
    description = models.TextField(blank=True, default="")
    cron = models.TextField(
        blank=True, default="", help_text="One expression, or several, each of which ends with a newline."
    )
    cron_seconds = models.BooleanField(default=False, help_text="Expressions have six fields, seconds first.")
    dst_gap = models.CharField(max_length=16, choices=GapRule.choices, default=GapRule.RUN_AFTER)
    dst_overlap = models.CharField(max_length=16, choices=OverlapRule.choices, default=OverlapRule.FIRST)
    execution_frequency = models.PositiveIntegerField(default=0)
    repeats = models.IntegerField(default=FOREVER, help_text="Runs that are left; -1: for ever.")
    payload = JsonTextField(default=dict)
    callback_url = models.TextField(blank=True, default="", help_text="Empty: the command's.")
    timezone_type = models.CharField(max_length=24, choices=TimezoneType.choices, default=TimezoneType.ORGANIZATION)
    timezone = models.CharField(max_length=64, blank=True, default="")
    starts_at = models.DateTimeField(null=True, blank=True, help_text="No slot is before it.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="No slot is after it.")
    misfire_policy = models.CharField(max_length=16, choices=MisfirePolicy.choices, default=MisfirePolicy.FIRE_LATEST)
    misfire_grace = models.PositiveIntegerField(
        default=5, help_text="Seconds by which an outage may outlast a slot before the slot counts as missed."
    )
    overlap = models.CharField(
        max_length=16, choices=OverlapPolicy.choices, default=OverlapPolicy.ALLOW, help_text="For slots during a run."
    )
    timeout = models.PositiveSmallIntegerField(null=True, blank=True, help_text="In seconds; empty: the server's.")
    max_attempts = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Empty: the server's.")
    headers = EncryptedValuesField(default=dict, help_text="Extra headers of its callbacks.")
    headers_origin = models.TextField(
        blank=True, default="", help_text="The origin that the headers were given for. They are sent nowhere else."
    )
    effective_from = models.DateTimeField(help_text="When its present timing began; every slot since is in the ledger.")
    anchor_at = models.DateTimeField(help_text="The phase of a period: slots are whole periods after it.")
    next_run_at = models.DateTimeField(null=True, blank=True)
    deactivation_reason = models.CharField(max_length=16, choices=DeactivationReason.choices, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ScheduledExecutionQuerySet.as_manager()

    last_delivery: Delivery | None
    """Read by `prefetch_last_deliveries`."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="scheduling_schedule_repeats", condition=Q(repeats__gte=FOREVER)),
            models.CheckConstraint(
                name="scheduling_schedule_active",
                condition=Q(is_active=False) | (Q(next_run_at__isnull=False, deactivation_reason="") & ~Q(repeats=0)),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_misfire_grace", condition=Q(misfire_grace__lte=MAX_MISFIRE_GRACE)
            ),
            models.CheckConstraint(
                name="scheduling_schedule_window",
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(starts_at__lte=F("ends_at")),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_timeout",
                condition=Q(timeout=None) | Q(timeout__gte=1, timeout__lte=30),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_max_attempts",
                condition=Q(max_attempts=None) | Q(max_attempts__gte=1, max_attempts__lte=MAX_SCHEDULE_ATTEMPTS),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_user_zone",
                condition=~Q(timezone_type="user_timezone") | Q(owner__isnull=False),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_custom_zone",
                condition=~Q(timezone_type="custom_timezone") | ~Q(timezone=""),
            ),
        ]
        indexes = [
            # The dispatchers' scan of what is due; its cost does not grow with the number of schedules stored.
            models.Index(fields=["next_run_at"], name="scheduling_schedule_due", condition=Q(is_active=True)),
            # The lists of callers, newest first.
            models.Index(fields=["organization", "-id"], name="scheduling_schedule_list"),
            # Those that move with their user's zone.
            models.Index(
                fields=["owner"], name="scheduling_schedule_owner", condition=Q(timezone_type="user_timezone")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_recurring(self) -> bool:
        """Whether it runs more than once."""
        return bool(self.cron or self.execution_frequency)

    @property
    def effective_callback_url(self) -> str:
        """The URL that will be called: its own, or else the command's; empty if neither has one."""
        return self.callback_url or self.command.callback_url

    @property
    def callback_origin(self) -> str:
        """The origin of the URL that will be called; empty if there is none, or none that can be called."""
        try:
            return origin_of(self.effective_callback_url)
        except ValueError:
            return ""

    @property
    def sent_headers(self) -> dict[str, str]:
        """The extra headers that are sent: none, if the command's URL has moved to another origin since."""
        headers: dict[str, str] = self.headers
        return headers if headers and self.headers_origin == self.callback_origin else {}

    @property
    def zone(self) -> str:
        """The IANA zone that its cron expressions are read in, as of now."""
        if self.timezone_type == TimezoneType.CUSTOM:
            return self.timezone
        if self.timezone_type == TimezoneType.USER and self.owner is not None:
            return self.owner.timezone or self.organization.timezone
        return self.organization.timezone

    def slots(self) -> DeliveryQuerySet:
        """Its ledger rows, oldest first; at one instant it has one at most."""
        return Delivery.objects.of_source(self.uuid).order_by("due_at")

    @property
    def recurrence(self) -> Recurrence:
        """When it runs, for the pure engine."""
        return recurrence_of(self, zone=self.zone)


def prefetch_last_deliveries(schedules: Sequence[ScheduledExecution]) -> None:
    """Reads the `last_delivery` of all these schedules in one statement, without its body and attempts.

    It is the ledger row of the latest slot, but not one that was written before its time.
    """
    now = clock.now()
    latest = Delivery.objects.filter(source_uuid=OuterRef("uuid"), due_at__lte=now).order_by("-due_at").values("pk")[:1]
    of_these = ScheduledExecution.objects.filter(pk__in=[schedule.pk for schedule in schedules]).order_by()
    rows = Delivery.objects.filter(pk__in=of_these.values(latest=Subquery(latest))).defer("attempts", "body", "headers")
    by_source = {row.source_uuid: row for row in rows}
    for schedule in schedules:
        schedule.last_delivery = by_source.get(schedule.uuid)


class DispatcherUptime(models.Model):
    """The one row that tells since when dispatchers have looked for due schedules without a gap."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    up_since = models.DateTimeField()
    looked_at = models.DateTimeField(help_text="When a dispatcher last looked.")

    class Meta:
        verbose_name_plural = "dispatcher uptime"
        constraints = [models.CheckConstraint(name="scheduling_dispatcheruptime_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"up since {self.up_since}"


class UnspentRepeat(models.Model):
    """A note that a repeat was counted for a run that could not be sent, until it is given back to the schedule."""

    schedule_uuid = models.UUIDField()
    due_at = models.DateTimeField()
    reason = models.CharField(max_length=32, choices=Reason.choices)

    def __str__(self) -> str:
        return f"{self.schedule_uuid} at {self.due_at}"


class Timing(Protocol):
    """The columns that say when a schedule runs. `H` in its cron takes its values from `uuid`."""

    @property
    def uuid(self) -> UUID: ...
    @property
    def cron(self) -> str: ...
    @property
    def cron_seconds(self) -> bool: ...
    @property
    def dst_gap(self) -> str: ...
    @property
    def dst_overlap(self) -> str: ...
    @property
    def execution_frequency(self) -> int: ...
    @property
    def anchor_at(self) -> datetime: ...


def recurrence_of(timing: Timing, *, zone: str) -> Recurrence:
    """Returns the pure engine's view of a schedule's columns; cron wins over the frequency."""
    return Recurrence(
        cron=timing.cron,
        period=settings.FREQUENCY_UNIT * timing.execution_frequency if timing.execution_frequency else None,
        zone=zone,
        anchor=timing.anchor_at,
        cron_seconds=timing.cron_seconds,
        dst_gap="skip" if timing.dst_gap == GapRule.SKIP else "run_after",
        dst_overlap="both" if timing.dst_overlap == OverlapRule.BOTH else "first",
        seed=timing.uuid,
    )
