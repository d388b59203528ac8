"""Schedules: what is to be called, when, how often, and for whom."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.utils.functional import cached_property

from audit.kinds import ObjectKind
from auth_tokens.models import ApiKey, CallerContext
from commands_platform.lib import clock
from commands_platform.lib.database.encrypted import EncryptedValuesField
from commands_platform.lib.json.column import JsonTextField
from deliveries.models import Delivery, DeliveryQuerySet, Reason
from organizations.models import Command, Organization, User
from outbound.address_guard import origin_of
from scheduling import calendars, walks  # noqa: F401  # models are registered where Django looks for them
from scheduling.excluded_days import ExcludedDays, next_run
from scheduling.recurrence import Recurrence, next_slot_within
from scheduling.spread import MAX_SPREAD

FOREVER = -1
# A schedule may ask for this many attempts.
MAX_SCHEDULE_ATTEMPTS = 20
# In seconds: one day.
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
    KEY_REVOKED = "key_revoked", "the API key that made it was revoked"
    GONE = "gone", "its receiver answered that it is gone for good"


class MisfirePolicy(models.TextChoices):
    """Says which of the slots missed while the server was down still run. The others are recorded as skipped."""

    FIRE_LATEST = "fire_latest"
    SKIP = "skip"
    FIRE_ALL = "fire_all"


class OverlapPolicy(models.TextChoices):
    """Says what is done with a slot that is due while a run of the same schedule is being sent."""

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
        """Returns the schedules that the caller may see. Raises MissingTokenError for a void token.

        With a token, the caller sees the schedules of the token's organization. Without one, it sees those of the key's
        organization that no user owns. A bound key sees only the schedules of its command, and an unbound key only
        those of its organization's commands, so that a public command never sees what users scheduled with another
        organization's command. A manager sees all schedules of its own organization.
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

    def lock_free(self) -> ScheduledExecution | None:
        """Locks the one schedule of this set, with organization and owner, unless somebody else holds it."""
        locked = self.select_for_update(of=("self",), skip_locked=True)
        return locked.select_related("organization", "owner").first()


class ScheduledExecution(models.Model):
    """A call that is made once, periodically, or whenever a cron expression says so."""

    audited_as = ObjectKind.SCHEDULE
    not_audited = frozenset(
        {"anchor_at", "correlation_id", "effective_from", "headers_origin", "made_by", "next_run_at", "repeats_since"}
    )

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    # Each run of a schedule adds an entry to each of its indexes, so only columns that are searched by have one.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="scheduled_executions", db_index=False
    )
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="scheduled_executions", db_index=False)
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="scheduled_executions", db_index=False,
        help_text="The user it runs as. Empty: no user, only the command and the organization.",
    )  # fmt: skip
    # Keys are never deleted. Without a constraint, nobody who creates a schedule writes a lock into the key's row.
    made_by = models.ForeignKey(
        ApiKey, on_delete=models.DO_NOTHING, null=True, editable=False, related_name="+", db_index=False,
        db_constraint=False, help_text="The API key that created it.",
    )  # fmt: skip
    name = models.CharField(max_length=255)
    is_active = models.BooleanField(default=True)
    description = models.TextField(blank=True, default="")
    external_id = models.CharField(max_length=255, blank=True, default="", help_text="The caller's own name for it.")
    tags = ArrayField(models.TextField(), blank=True, default=list)
    cron = models.TextField(blank=True, default="", help_text="One expression, or several, each ending with a newline.")
    cron_seconds = models.BooleanField(default=False, help_text="Expressions have six fields, the seconds first.")
    dst_gap = models.CharField(max_length=16, choices=GapRule.choices, default=GapRule.RUN_AFTER)
    dst_overlap = models.CharField(max_length=16, choices=OverlapRule.choices, default=OverlapRule.FIRST)
    every = models.TextField(
        blank=True, default="", help_text="A period on the wall clock, as JSON. It excludes cron and a frequency."
    )
    exceptions = models.TextField(
        blank=True,
        default="",
        help_text="A JSON array of dates, spans of dates and calendars on which it does not run.",
    )
    execution_frequency = models.PositiveIntegerField(default=0)
    spread = models.PositiveIntegerField(default=0, help_text="In seconds. Each run is later by a share of it.")
    repeats = models.IntegerField(default=FOREVER, help_text="Number of runs left. -1: it runs for ever.")
    repeats_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The first slot that counts, after repeats were set anew."
    )
    payload = JsonTextField(default=dict)
    callback_url = models.TextField(blank=True, default="", help_text="Empty: the command's URL.")
    timezone_type = models.CharField(max_length=24, choices=TimezoneType.choices, default=TimezoneType.ORGANIZATION)
    timezone = models.CharField(max_length=64, blank=True, default="")
    starts_at = models.DateTimeField(null=True, blank=True, help_text="There is no slot before this time.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="There is no slot after this time.")
    misfire_policy = models.CharField(max_length=16, choices=MisfirePolicy.choices, default=MisfirePolicy.FIRE_LATEST)
    misfire_grace = models.PositiveIntegerField(
        default=5, help_text="In seconds. A slot is missed if an outage ends more than this after it."
    )
    overlap = models.CharField(
        max_length=16,
        choices=OverlapPolicy.choices,
        default=OverlapPolicy.ALLOW,
        help_text="Applies to slots that are due during a run.",
    )
    timeout = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="In seconds. Empty: the server's default."
    )
    max_attempts = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Empty: the server's default.")
    headers = EncryptedValuesField(default=dict, help_text="Extra headers of its callbacks.")
    headers_origin = models.TextField(
        blank=True,
        default="",
        help_text="The origin that the headers were given for. They are never sent to another one.",
    )
    correlation_id = models.TextField(  # noqa: DJ001  # NULL takes no space
        null=True, editable=False, help_text="The X-Correlation-Id of the request that set its timing."
    )
    pause_reason = models.TextField(blank=True, default="", help_text="Why it was paused, in the caller's words.")
    paused_until = models.DateTimeField(null=True, blank=True, help_text="When it resumes by itself.")
    effective_from = models.DateTimeField(help_text="When its current timing began. The ledger has every slot since.")
    anchor_at = models.DateTimeField(
        help_text="The start of a period: slots are whole periods after it. `every` is counted from its local date."
    )
    next_run_at = models.DateTimeField(null=True, blank=True)
    deactivation_reason = models.CharField(max_length=16, choices=DeactivationReason.choices, blank=True, default="")
    # The database's clock, because `every` is counted from it.
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ScheduledExecutionQuerySet.as_manager()

    last_delivery: Delivery | None
    """Set by `prefetch_last_deliveries`."""

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
            models.UniqueConstraint(
                fields=["organization", "command", "external_id"],
                name="scheduling_schedule_external_id",
                condition=~Q(external_id=""),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_one_rule",
                condition=Q(every="") | Q(cron="", execution_frequency=0),
            ),
            models.CheckConstraint(
                name="scheduling_schedule_pause",
                condition=Q(paused_until=None, pause_reason="") | Q(is_active=False),
            ),
            models.CheckConstraint(name="scheduling_schedule_spread", condition=Q(spread__lte=MAX_SPREAD)),
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
            # The dispatchers' scan for due schedules. Its cost does not grow with the number of schedules stored. With
            # the organization, those of one with few due slots are found beside those of one with very many.
            models.Index(
                fields=["next_run_at", "organization"], name="scheduling_schedule_due", condition=Q(is_active=True)
            ),
            # The lists that callers see, newest first.
            models.Index(fields=["organization", "-id"], name="scheduling_schedule_list"),
            # The schedules that name a calendar.
            models.Index(fields=["organization"], name="scheduling_schedule_exceptions", condition=~Q(exceptions="")),
            # The schedules that resume by themselves.
            models.Index(
                fields=["paused_until"], name="scheduling_schedule_paused", condition=Q(paused_until__isnull=False)
            ),
            # The schedules with a tag.
            GinIndex(fields=["tags"], name="scheduling_schedule_tags", condition=~Q(tags=[])),
            # The schedules that move when their user's zone changes.
            models.Index(
                fields=["owner"], name="scheduling_schedule_owner", condition=Q(timezone_type="user_timezone")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_recurring(self) -> bool:
        """Returns whether it runs by cron expressions or periodically, not just once."""
        return bool(self.cron or self.every or self.execution_frequency)

    @property
    def effective_callback_url(self) -> str:
        """Returns the URL that will be called: its own, or else the command's. Empty if there is neither."""
        return self.callback_url or self.command.callback_url

    @property
    def callback_origin(self) -> str:
        """Returns the origin of the URL that will be called. Empty if there is no URL or it cannot be called."""
        try:
            return origin_of(self.effective_callback_url)
        except ValueError:
            return ""

    @property
    def sent_headers(self) -> dict[str, str]:
        """Returns the extra headers that are sent: none if the command's URL has moved to another origin since."""
        headers: dict[str, str] = self.headers
        return headers if headers and self.headers_origin == self.callback_origin else {}

    @property
    def zone(self) -> str:
        """Returns the IANA zone that its `cron` or `every` is read in now."""
        if self.timezone_type == TimezoneType.CUSTOM:
            return self.timezone
        if self.timezone_type == TimezoneType.USER and self.owner is not None:
            return self.owner.timezone or self.organization.timezone
        return self.organization.timezone

    @property
    def counted_from(self) -> datetime:
        """Returns the instant whose local date `every` is counted from. A change of the rule does not move it."""
        return self.starts_at or self.created_at

    @cached_property
    def excluded_days(self) -> ExcludedDays | None:
        """The days on which it does not run. None: it runs on all days."""
        return calendars.excluded_days_of(self)

    def next_run(self) -> datetime | None:
        """Returns when it runs next. The column has its next slot, which may be on an excluded day.

        Raises InvalidInputError if its slots can no longer be computed.
        """
        if not self.exceptions:
            return self.next_run_at
        return next_run(self.recurrence, self.excluded_days, first=self.next_run_at, ends_at=self.ends_at)

    def slots(self) -> DeliveryQuerySet:
        """Returns its ledger rows, oldest first. There is at most one row for each instant."""
        return Delivery.objects.of_source(self.uuid).order_by("due_at")

    @property
    def recurrence(self) -> Recurrence:
        """Returns when it runs, in the form that the pure functions take."""
        return recurrence_of(self, zone=self.zone)

    def slot_after(self, instant: datetime) -> datetime | None:
        """Returns the first slot after an instant in its window, by the zone rules of this process."""
        return next_slot_within(self.recurrence, after=instant, starts_at=self.starts_at, ends_at=self.ends_at)


class DispatcherUptime(models.Model):
    """The single row that says since when dispatchers have looked for due schedules without a gap."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    up_since = models.DateTimeField()
    looked_at = models.DateTimeField(help_text="When a dispatcher last looked.")

    class Meta:
        verbose_name_plural = "dispatcher uptime"
        constraints = [models.CheckConstraint(name="scheduling_dispatcheruptime_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"up since {self.up_since}"


class UnspentRepeat(models.Model):
    """A repeat that was counted for a run that could not be sent, until it is given back to the schedule."""

    schedule_uuid = models.UUIDField()
    due_at = models.DateTimeField()
    reason = models.CharField(max_length=32, choices=Reason.choices)

    def __str__(self) -> str:
        return f"{self.schedule_uuid} at {self.due_at}"


class Timing(Protocol):
    """The columns that say when a schedule runs. The values of `H` and the share of `spread` depend on `uuid`."""

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
    def every(self) -> str: ...
    @property
    def execution_frequency(self) -> int: ...
    @property
    def spread(self) -> int: ...
    @property
    def anchor_at(self) -> datetime: ...


def recurrence_of(timing: Timing, *, zone: str) -> Recurrence:
    """Returns the recurrence that a schedule's columns stand for. Cron wins over the frequency."""
    return Recurrence(
        cron=timing.cron,
        every=timing.every,
        period=settings.FREQUENCY_UNIT * timing.execution_frequency if timing.execution_frequency else None,
        zone=zone,
        anchor=timing.anchor_at,
        cron_seconds=timing.cron_seconds,
        dst_gap="skip" if timing.dst_gap == GapRule.SKIP else "run_after",
        dst_overlap="both" if timing.dst_overlap == OverlapRule.BOTH else "first",
        seed=timing.uuid,
        spread=timing.spread,
    )
