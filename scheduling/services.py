"""Creates, changes, runs, redelivers and deletes schedules, for callers and operators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from audit.kinds import Verb
from audit.services import record, recording_its_insert
from audit.subjects import values_of
from auth_tokens.errors import MissingTokenError
from auth_tokens.models import CallerContext
from commands_platform.lib import broker, clock
from commands_platform.lib.correlation import current_correlation_id
from commands_platform.lib.database.availability import busy_if_locked
from commands_platform.lib.errors import InvalidInputError, NotFoundError
from deliveries import ledger
from deliveries.ledger import NewRow
from deliveries.models import Delivery, Kind, Reason
from deliveries.services import cancel_pending
from organizations.models import Command, Organization, User
from scheduling import timing, zone_rules
from scheduling.due import AHEAD, skipped_row, withdraw_ahead
from scheduling.effects import effect_of, stored_form
from scheduling.errors import (
    ExternalIdTakenError,
    InvalidCommandError,
    MissingTokenOrCommandError,
    NotActiveError,
)
from scheduling.excluded_days import is_excluded
from scheduling.models import DeactivationReason, ScheduledExecution
from scheduling.planning import SkippedSlots
from scheduling.quotas import check_period, use_schedules
from scheduling.schedule_log import log_changed, log_created, log_deleted
from scheduling.tasks import dispatch_due
from scheduling.validation import (
    check_exceptions,
    check_fields,
    check_has_run,
    check_headers_have_origin,
    with_implied,
)

_EDITABLE_FIELDS = frozenset(
    {
        *("callback_url", "cron", "cron_seconds", "description", "dst_gap", "dst_overlap", "ends_at"),
        *("every", "exceptions", "execution_frequency", "external_id", "headers", "is_active", "max_attempts"),
        *("misfire_grace", "misfire_policy", "name", "overlap", "payload", "repeats", "spread", "starts_at"),
        *("tags", "timeout", "timezone", "timezone_type"),
    }
)
# The columns that say more about a pause. They are empty for a schedule that is not paused.
_PAUSE_COLUMNS = ("pause_reason", "paused_until")
_TIMING_COLUMNS = [
    *("anchor_at", "correlation_id", "deactivation_reason", "effective_from", "next_run_at", "repeats_since"),
    "updated_at",
]

Check: TypeAlias = Callable[[ScheduledExecution], None]


@dataclass(frozen=True, slots=True)
class _Party:
    """The organization, command and user that a new schedule belongs to."""

    organization: Organization
    command: Command
    owner: User | None


def create_scheduled_execution(
    *,
    context: CallerContext,
    values: Mapping[str, Any],
    command_uuid: UUID | None = None,
    is_owned_by_user: bool = True,
) -> ScheduledExecution:
    """Creates a schedule and computes its first run, which may be due at once.

    `values` holds the editable fields. Raises MissingTokenOrCommandError, InvalidCommandError, InvalidInputError or
    QuotaExceededError.
    """
    now = clock.now()
    schedule = new_scheduled_execution(
        context=context, values=values, command_uuid=command_uuid, is_owned_by_user=is_owned_by_user, now=now
    )
    check_period(schedule)
    use_schedules(schedule.organization)
    # A transaction around it has to survive a name that is taken. Otherwise one statement needs no transaction.
    savepoint = transaction.atomic() if connection.in_atomic_block else nullcontext()
    with external_id_is_free(), savepoint, recording_its_insert(schedule):
        schedule.save(force_insert=True)
    after_commit(schedule, now)
    log_created(schedule)
    return schedule


def new_scheduled_execution(
    *,
    context: CallerContext,
    values: Mapping[str, Any],
    now: datetime,
    command_uuid: UUID | None = None,
    is_owned_by_user: bool = True,
) -> ScheduledExecution:
    """Returns a schedule with its first run, without storing it. Raises the errors of `create_scheduled_execution`."""
    party = _party(context, command_uuid, is_owned_by_user=is_owned_by_user)
    schedule = ScheduledExecution(
        organization=party.organization,
        command=party.command,
        owner=party.owner,
        made_by=context.api_key,
        created_at=now,
    )
    _apply(schedule, values)
    if schedule.repeats == 0:
        raise InvalidInputError(
            errors={
                "repeats": ["Must be -1, for ever, or at least 1. To create it without a run, set is_active to false."]
            }
        )
    timing.start(schedule, now)
    schedule.correlation_id = current_correlation_id()
    check_has_run(schedule, now)
    if not schedule.is_active:
        schedule.deactivation_reason = DeactivationReason.PAUSED
    return schedule


@busy_if_locked()
@transaction.atomic
def update_scheduled_execution(
    *,
    schedule: ScheduledExecution,
    changes: Mapping[str, Any],
    check: Check | None = None,
    as_of: datetime | None = None,
) -> ScheduledExecution:
    """Changes the given fields, and cancels unsent deliveries that the change has an effect on.

    A new recurrence or start begins a new timing. Other changes do not move any run. The change takes effect at
    `as_of`, which is now unless it is given. Raises InvalidInputError, and the errors of `check`, which sees the locked
    schedule before the change.
    """
    schedule = locked(schedule, check)
    now = as_of or clock.now()
    fields = _EDITABLE_FIELDS.union(_PAUSE_COLUMNS)
    before = {field: stored_form(getattr(schedule, field)) for field in fields}
    audited_before = values_of(schedule)
    effect_before, passed = effect_of(schedule, now), timing.passed_slots(schedule, now)
    was_active, headers_origin = schedule.is_active, schedule.headers_origin
    _apply(schedule, _without_command_url(schedule, changes))
    _set_pause(schedule, changes)
    changed = {field for field in fields if stored_form(getattr(schedule, field)) != before[field]}
    if schedule.repeats == 0 and schedule.is_active:
        if "is_active" in changes:
            raise InvalidInputError(
                errors={"is_active": ["No repeats are left: set repeats too, to -1 or at least 1."]}
            )
        schedule.is_active = False
        changed.add("is_active")
    if not changed and schedule.headers_origin == headers_origin:
        if "repeats" in changes:
            timing.count_repeats_anew(schedule, now)
            schedule.save(update_fields=["repeats_since"])
        return schedule
    _withdraw_ahead(schedule, now)
    effect = effect_of(schedule, now)
    timing_changed = (effect.rule, effect.spread) != (effect_before.rule, effect_before.spread)
    timing.apply_transition(
        schedule,
        now,
        was_active=was_active,
        timing_changed=timing_changed,
        keeps_anchor=effect.rule == effect_before.rule,
    )
    begins_anew = timing_changed or (schedule.is_active and not was_active)
    if begins_anew:
        check_period(schedule)
        schedule.correlation_id = current_correlation_id()
    if "repeats" in changes:
        timing.count_repeats_anew(schedule, now)
    check_has_run(schedule, now)
    with external_id_is_free():
        schedule.save(update_fields=[*fields, "headers_origin", *_TIMING_COLUMNS])
    record(Verb.CHANGED, schedule, before=audited_before)
    if passed and begins_anew:
        reason = Reason.SCHEDULE_CHANGED if was_active else Reason.PAUSED
        ledger.insert([_passed_row(schedule, passed, reason)], now=now)
    if was_active and changes.get("is_active") is False:
        cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_PAUSED)
    elif effect != effect_before:
        cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_CHANGED)
    else:
        _cancel_outside(schedule, changed)
    after_commit(schedule, now)
    log_changed(schedule, changed)
    return schedule


@busy_if_locked()
@transaction.atomic
def delete_scheduled_execution(*, schedule: ScheduledExecution, check: Check | None = None) -> None:
    """Deletes the schedule and cancels its unsent deliveries. Its ledger rows stay. Raises the errors of `check`."""
    schedule, now = locked(schedule, check), clock.now()
    _withdraw_ahead(schedule, now)
    passed = timing.passed_slots(schedule, now)
    if passed:
        reason = Reason.SCHEDULE_DELETED if schedule.is_active else Reason.PAUSED
        ledger.insert([_passed_row(schedule, passed, reason)], now=now)
    cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_DELETED)
    log_deleted(schedule)
    record(Verb.DELETED, schedule)
    schedule.delete()


def put_by_external_id(
    *,
    context: CallerContext,
    external_id: str,
    values: Mapping[str, Any],
    command_uuid: UUID | None = None,
    is_owned_by_user: bool = True,
) -> tuple[ScheduledExecution, bool]:
    """Changes the schedule with this `external_id`, or creates it. Returns it, and whether it is new.

    Raises MissingTokenError if it is a user's and the caller has no token, and the errors of creation and of changes.
    """
    values = {**values, "external_id": external_id}
    schedule = _find_by_external_id(context, external_id, command_uuid)
    if schedule is None:
        try:
            created = create_scheduled_execution(
                context=context, values=values, command_uuid=command_uuid, is_owned_by_user=is_owned_by_user
            )
        except ExternalIdTakenError:
            # Another request has created it in the meantime.
            schedule = _find_by_external_id(context, external_id, command_uuid)
            if schedule is None:
                raise
        else:
            return created, True
    return update_scheduled_execution(schedule=schedule, changes=values), False


def _find_by_external_id(
    context: CallerContext, external_id: str, command_uuid: UUID | None
) -> ScheduledExecution | None:
    party = _party(context, command_uuid, is_owned_by_user=False)
    found = ScheduledExecution.objects.filter(
        organization=party.organization, command=party.command, external_id=external_id
    )
    schedule = found.first()
    if schedule is not None and not found.visible_to(context).exists():
        raise MissingTokenError
    return schedule


def pause(*, schedule: ScheduledExecution, reason: str = "", until: datetime | None = None) -> ScheduledExecution:
    """Stops the schedule until it is resumed, or until an instant, and cancels its unsent deliveries.

    A schedule that is paused already gets the new reason and end. Raises InvalidInputError for an end that is not to
    come, and NotActiveError for a schedule that is inactive for another reason.
    """
    if until is not None and until <= clock.now():
        raise InvalidInputError(errors={"until": ["It has passed already. Give an instant that is to come."]})
    changes = {"is_active": False, "pause_reason": reason, "paused_until": until}
    return update_scheduled_execution(schedule=schedule, changes=changes, check=_can_be_paused)


def resume(*, schedule: ScheduledExecution, as_of: datetime | None = None) -> ScheduledExecution:
    """Resumes the schedule in its old phase. Slots of the pause are recorded as skipped. Raises InvalidInputError."""
    return update_scheduled_execution(schedule=schedule, changes={"is_active": True}, as_of=as_of)


def _can_be_paused(schedule: ScheduledExecution) -> None:
    if not schedule.is_active and schedule.deactivation_reason != DeactivationReason.PAUSED:
        raise NotActiveError(f"It is not active: {schedule.get_deactivation_reason_display()}.")


def _party(context: CallerContext, command_uuid: UUID | None, *, is_owned_by_user: bool) -> _Party:
    token = context.optional_token() if command_uuid is not None or context.has_token else None
    if token is not None:
        if command_uuid is not None and command_uuid != token.command.uuid:
            raise InvalidCommandError
        return _Party(token.organization, token.command, token.user if is_owned_by_user else None)
    if command_uuid is None:
        raise MissingTokenOrCommandError
    command = Command.objects.filter(uuid=command_uuid, organization=context.organization, is_active=True).first()
    if command is None or not context.acts_as(command):
        raise InvalidCommandError
    return _Party(context.organization, command, None)


@contextmanager
def external_id_is_free() -> Iterator[None]:
    """Raises ExternalIdTakenError if another schedule of the command has the `external_id`."""
    try:
        yield
    except IntegrityError as error:
        if "scheduling_schedule_external_id" in str(error):
            raise ExternalIdTakenError from error
        raise


def locked(schedule: ScheduledExecution, check: Check | None = None) -> ScheduledExecution:
    """Locks the row, checks it, and returns it as it is now. Raises NotFoundError, and the errors of `check`.

    It waits for a dispatcher that holds the row, but no longer than the process's `lock_timeout`.
    """
    locked = (
        ScheduledExecution.objects.select_for_update(of=("self",))
        .select_related("organization", "command__organization", "owner")
        .filter(pk=schedule.pk)
        .first()
    )
    if locked is None:
        # It was deleted after it was found.
        raise NotFoundError
    if check is not None:
        check(locked)
    return locked


def _withdraw_ahead(schedule: ScheduledExecution, now: datetime) -> None:
    """Withdraws a slot that was written ahead and is still to come, because the change comes before it."""
    next_run_at = withdraw_ahead([schedule.uuid], now=now, waits=True).get(schedule.pk)
    if next_run_at is not None:
        schedule.next_run_at = next_run_at


def _without_command_url(schedule: ScheduledExecution, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the changes without a callback URL that is the command's, which GET shows and callers may send back."""
    if not schedule.callback_url and changes.get("callback_url") == schedule.command.callback_url:
        return {field: value for field, value in changes.items() if field != "callback_url"}
    return changes


def _apply(schedule: ScheduledExecution, values: Mapping[str, Any]) -> None:
    """Sets the given fields and checks the whole schedule. Raises InvalidInputError with every field that is wrong.

    Headers may be a receiver's secrets, so they belong to the origin that they were given for. A new URL of another
    origin drops them.
    """
    values = with_implied(values)
    for field in _EDITABLE_FIELDS & values.keys():
        setattr(schedule, field, values[field])
    check_fields(schedule)
    if values.get("exceptions"):
        check_exceptions(schedule)
    if "headers" in values:
        check_headers_have_origin(schedule)
        schedule.headers_origin = schedule.callback_origin if schedule.headers else ""
    elif "callback_url" in values and not schedule.sent_headers:
        schedule.headers, schedule.headers_origin = {}, ""


def _set_pause(schedule: ScheduledExecution, changes: Mapping[str, Any]) -> None:
    """Sets the reason and the end of a pause. They go when the schedule becomes active."""
    if schedule.is_active:
        schedule.pause_reason, schedule.paused_until = "", None
        return
    schedule.pause_reason = changes.get("pause_reason", schedule.pause_reason)
    schedule.paused_until = changes.get("paused_until", schedule.paused_until)


def _cancel_outside(schedule: ScheduledExecution, changed: Collection[str]) -> None:
    """Cancels unsent deliveries of slots that are after a new end, or on days that are excluded now."""
    if schedule.ends_at is not None and "ends_at" in changed:
        cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_CHANGED, due_after=schedule.ends_at)
    if "exceptions" not in changed:
        return
    excluded = schedule.excluded_days
    pending = Delivery.objects.of_source(schedule.uuid).pending().filter(kind=Kind.SCHEDULED)
    due = [at for at in pending.values_list("due_at", flat=True) if is_excluded(at, schedule.zone, excluded)]
    if due:
        cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_CHANGED, due_at=due)


def _passed_row(schedule: ScheduledExecution, passed: timing.Passed, reason: Reason) -> NewRow:
    return skipped_row(schedule, SkippedSlots(passed.first, passed.last, passed.count, reason))


def after_commit(schedule: ScheduledExecution, now: datetime) -> None:
    """Notes which zone rules computed the next run, and wakes a dispatcher if it is due in a moment.

    The next tick may come before this transaction is committed, so it cannot be relied on.
    """
    transaction.on_commit(zone_rules.note_use, robust=True)
    if schedule.is_active and schedule.next_run_at is not None and schedule.next_run_at <= now + AHEAD:
        broker.send_hint_on_commit(dispatch_due)
