"""Schedules: what is to be called, when, how often, and for whom."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q

from auth_tokens.models import CallerContext, TokenSubject
from commands_platform.lib.fields import JsonTextField
from deliveries.models import Delivery
from organizations.models import Command, Organization, User
from scheduling.recurrence import Recurrence

FOREVER = -1


class TimezoneType(models.TextChoices):
    ORGANIZATION = "organization_timezone"
    USER = "user_timezone"
    CUSTOM = "custom_timezone"


class DeactivationReason(models.TextChoices):
    COMPLETED = "completed"
    PAUSED = "paused"
    INVALID = "invalid"


class ScheduledExecutionQuerySet(models.QuerySet["ScheduledExecution"]):
    def owned_by(self, context: CallerContext, token: TokenSubject) -> ScheduledExecutionQuerySet:
        """Those of the token's organization whose command is the API key's organization's.

        The second half keeps a public command from reading what another organization's users scheduled with theirs.
        """
        return self.filter(organization=token.organization, command__organization=context.organization)

    def active(self) -> ScheduledExecutionQuerySet:
        return self.filter(is_active=True)


class ScheduledExecution(models.Model):
    """A call that is made once, periodically, or by a cron expression."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="scheduled_executions")
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="scheduled_executions")
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="scheduled_executions",
        help_text="Whom it runs as; empty: the command and the organization alone.",
    )  # fmt: skip
    name = models.CharField(max_length=255)
    is_active = models.BooleanField(default=True)
    cron = models.CharField(max_length=255, blank=True, default="")
    execution_frequency = models.PositiveIntegerField(default=0)
    repeats = models.IntegerField(default=FOREVER, help_text="Runs that are left; -1: for ever.")
    payload = JsonTextField(default=dict)
    callback_url = models.TextField(blank=True, default="", help_text="Empty: the command's.")
    timezone_type = models.CharField(max_length=24, choices=TimezoneType.choices, default=TimezoneType.ORGANIZATION)
    timezone = models.CharField(max_length=64, blank=True, default="")
    anchor_at = models.DateTimeField(help_text="The phase of a period: slots are whole periods after it.")
    next_run_at = models.DateTimeField(null=True, blank=True)
    deactivation_reason = models.CharField(max_length=16, choices=DeactivationReason.choices, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ScheduledExecutionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="scheduling_schedule_repeats", condition=Q(repeats__gte=FOREVER)),
            models.CheckConstraint(
                name="scheduling_schedule_active",
                condition=Q(is_active=False) | (Q(next_run_at__isnull=False, deactivation_reason="") & ~Q(repeats=0)),
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
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def effective_callback_url(self) -> str:
        """The URL that will be called: its own, or else the command's; empty if neither has one."""
        return self.callback_url or self.command.callback_url

    @property
    def zone(self) -> str:
        """The IANA zone that its cron expression is read in, as of now."""
        if self.timezone_type == TimezoneType.CUSTOM:
            return self.timezone
        if self.timezone_type == TimezoneType.USER and self.owner is not None:
            return self.owner.timezone or self.organization.timezone
        return self.organization.timezone

    def last_delivery(self) -> Delivery | None:
        """The ledger row of its latest slot."""
        return Delivery.objects.of_source(self.uuid).order_by("-due_at").first()

    @property
    def recurrence(self) -> Recurrence:
        """When it runs, for the pure engine."""
        return recurrence_of(
            cron=self.cron, execution_frequency=self.execution_frequency, zone=self.zone, anchor_at=self.anchor_at
        )


def recurrence_of(*, cron: str, execution_frequency: int, zone: str, anchor_at: datetime) -> Recurrence:
    """The pure engine's view of a schedule's columns; cron wins over the frequency."""
    period: timedelta | None = settings.FREQUENCY_UNIT * execution_frequency if execution_frequency else None
    return Recurrence(cron=cron, period=period, zone=zone, anchor=anchor_at)
