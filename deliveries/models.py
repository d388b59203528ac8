"""The ledger: one row for each slot and destination. Its pending rows are the queue of the senders."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.models import F, Func, Q

from commands_platform.lib.database.encrypted import CopiedValuesField
from commands_platform.lib.database.identifiers import new_ledger_id
from deliveries.attempts import AttemptsField
from organizations.models import Command, Organization, User

# The counters of a row are of this type.
MAX_SMALLINT = 32_767


class State(models.TextChoices):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Kind(models.TextChoices):
    SCHEDULED = "scheduled"
    MANUAL = "manual"
    EVENT = "event"


class Reason(models.TextChoices):
    """Why a slot was not delivered. The codes are part of the API and never change."""

    MISSED = "missed", "the server was not running at the time, or too many runs were late"
    PAUSED = "paused", "the schedule was paused"
    OVERLAP = "overlap", "the run before it was not finished"
    EXCLUDED = "excluded", "the schedule does not run on this day"
    OUTSIDE_WINDOW = "outside_window", "the schedule had ended when it could have been sent"
    NO_CALLBACK_URL = "no_callback_url", "neither the schedule nor its command has a callback URL"
    INVALID_CALLBACK_URL = "invalid_callback_url", "the callback URL is not a valid URL"
    ORGANIZATION_INACTIVE = "organization_inactive", "the organization is inactive"
    COMMAND_INACTIVE = "command_inactive", "the command is inactive"
    COMMAND_NOT_INSTALLED = "command_not_installed", "the organization has not installed the command"
    COMMAND_NOT_ALLOWED = "command_not_allowed", "the organization does not allow the command to do this"
    USER_INACTIVE = "user_inactive", "the user it runs as is inactive"
    SCHEDULE_PAUSED = "schedule_paused", "the schedule was paused before it was sent"
    SCHEDULE_CHANGED = "schedule_changed", "the schedule was changed before it was sent"
    SCHEDULE_DEACTIVATED = "schedule_deactivated", "the schedule was deactivated before it was sent"
    SCHEDULE_DELETED = "schedule_deleted", "the schedule was deleted before it was sent"
    HOOK_REMOVED = "hook_removed", "the hook was removed before it was sent"
    INVALID_SCHEDULE = "invalid_schedule", "its slots can no longer be computed"
    BLOCKED_ADDRESS = "blocked_address", "callbacks may not reach the receiver's address"
    REJECTED = "rejected", "the receiver's answer said not to try again"
    GONE = "gone", "the receiver answered that it is gone for good"
    RETRIES_EXHAUSTED = "retries_exhausted", "every attempt failed"
    EXPIRED = "expired", "the receiver could not be reached for too long"
    UNSENDABLE = "unsendable", "the request could not be made"
    POISON = "poison", "several senders stopped while they had it in hand"


class AttemptError(models.TextChoices):
    """Why an attempt has no answer. The codes are part of the API and never change."""

    DNS = "dns", "The host name could not be resolved."
    REFUSED = "refused", "No connection could be made."
    TIMEOUT = "timeout", "No answer came in time."
    TLS = "tls", "No trusted TLS connection could be made."
    RESET = "reset", "The connection was closed before the answer's status and headers were complete."
    PROTOCOL = "protocol", "The answer is not HTTP."
    HEADERS_TOO_LARGE = "headers_too_large", "The answer's status line and headers are too large."
    INVALID_URL = "invalid_url", "The callback URL cannot be used."
    BLOCKED_ADDRESS = "blocked_address", "Callbacks may not reach this address."
    PROXY = "proxy", "The proxy for callbacks could not connect to the receiver."
    UNSENDABLE = "unsendable", "The request could not be made."
    INTERRUPTED = "interrupted", "The server stopped or lost its network before the answer came."
    OTHER = "other", "The request failed."


def _literal(state: State) -> Func:
    """Returns the state as a literal. A generic plan for a parameter could not use the indexes of one state."""
    return Func(template=f"'{state}'", output_field=models.CharField())


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def pending(self) -> DeliveryQuerySet:
        return self.filter(state=_literal(State.PENDING))

    def failed(self) -> DeliveryQuerySet:
        return self.filter(state=_literal(State.FAILED))

    def due(self, now: datetime) -> DeliveryQuerySet:
        """Returns those that a sender may claim: their time has come, and nobody holds a lease on them."""
        return self.pending().filter(Q(lease=None) | Q(leased_until__lte=now), next_attempt_at__lte=now)

    def lock_all(self) -> bool:
        """Locks all these rows without waiting. Returns False if somebody else holds one of them."""
        locked = self.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)
        return len(locked) == self.count()

    def of_source(self, uuid: UUID) -> DeliveryQuerySet:
        """Returns the deliveries of one schedule or one event."""
        return self.filter(source_uuid=uuid)


class Delivery(models.Model):
    """One slot for one destination. Consecutive skipped slots are one row with the first and last due time and a count.

    The database does not enforce the foreign keys, because three look-ups for each row would be half the cost of
    writing it. The rows that they name are never deleted, only deactivated.

    The table is partitioned. Pending rows are in `deliveries_queue`. A row that ends moves to `deliveries_finished`,
    which has a partition for each day of `due_at`. The migration declares partitions and indexes, because Django knows
    no partitioned tables.
    """

    id = models.UUIDField(primary_key=True, default=new_ledger_id, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    command = models.ForeignKey(
        Command, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    user = models.ForeignKey(
        User, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+", null=True
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    source_uuid = models.UUIDField()
    destination = models.CharField(max_length=40, blank=True, default="")
    due_at = models.DateTimeField()
    last_due_at = models.DateTimeField(null=True)
    slot_count = models.PositiveBigIntegerField(default=1)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True, default="")
    url = models.TextField(blank=True, default="")
    origin = models.TextField(blank=True, default="", help_text="Scheme, host and port of the URL.")
    headers = CopiedValuesField(
        blank=True, default="", help_text="Extra headers as a JSON object with encrypted values, or empty."
    )
    timeout = models.PositiveSmallIntegerField(
        null=True, help_text="In seconds. If empty, the server's default applies."
    )
    # NULL takes no space in a row, unlike an empty text.
    correlation_id = models.TextField(  # noqa: DJ001
        null=True, editable=False, help_text="The X-Correlation-Id of the request that caused it. If empty, its own id."
    )
    schedule_name = models.TextField(  # noqa: DJ001
        null=True, help_text="The name of a run's schedule when the run was planned."
    )
    body = models.TextField(
        blank=True, default="", help_text="The JSON payload of a run, or the whole JSON body of an event."
    )
    attempt_count = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=0)
    attempts_before = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Attempts made before it was last redelivered. Retry delays are counted from there.",
    )
    next_attempt_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(help_text="It fails if its origin still does not answer by then.")
    lease = models.UUIDField(null=True, help_text="Identifies the claim that holds it while it is being sent.")
    leased_until = models.DateTimeField(null=True)
    attempts = AttemptsField(default=list)
    last_status = models.PositiveSmallIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    if TYPE_CHECKING:
        command_id: int
        organization_id: int
        user_id: int | None

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                name="deliveries_delivery_pending",
                # A pending row without a next attempt waits for the run before it.
                condition=Q(state="pending", next_attempt_at__isnull=False, finished_at=None)
                | Q(state="pending", next_attempt_at=None, finished_at=None, lease=None)
                | (~Q(state="pending") & Q(next_attempt_at=None, finished_at__isnull=False, lease=None)),
            ),
            models.CheckConstraint(
                name="deliveries_delivery_lease",
                condition=Q(lease=None, leased_until=None) | Q(lease__isnull=False, leased_until__isnull=False),
            ),
            models.CheckConstraint(
                name="deliveries_delivery_reason",
                condition=Q(state="pending")
                | Q(state="delivered", reason="")
                | (~Q(state="delivered") & ~Q(reason="")),
            ),
            models.CheckConstraint(
                name="deliveries_delivery_range",
                condition=Q(slot_count=1, last_due_at=None)
                | Q(slot_count__gt=1, state="skipped", last_due_at__gt=F("due_at")),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
