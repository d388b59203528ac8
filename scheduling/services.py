"""What callers and operators may do with schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from auth_tokens.models import CallerContext
from commands_platform.lib import broker, clock
from commands_platform.lib.errors import InvalidInputError, NotFoundError
from deliveries import ledger
from deliveries.custom_headers import check_headers
from deliveries.ledger import NewRow
from deliveries.models import Delivery, Kind, Reason
from deliveries.services import cancel_pending, redeliver, redeliverable
from deliveries.tasks import deliver_pending
from organizations.models import Command, Organization, User
from outbound.address_guard import origin_of
from outbound.guard import address_guard
from scheduling import zone_rules
from scheduling.due import AHEAD, Slot, due_view, insert_slots, skipped_row, withdraw_ahead
from scheduling.errors import InvalidCommandError, MissingTokenOrCommandError, NotRedeliverableError
from scheduling.models import DeactivationReason, ScheduledExecution, TimezoneType
from scheduling.recurrence import check_zone, missed, next_slot_within, parse_cron
from scheduling.tasks import dispatch_due

LONGEST_PERIOD = timedelta(days=3653)
LARGEST_PAYLOAD = 256 * 1024
_FIRST_YEAR = 1970

_TIMING_FIELDS = {
    "cron",
    "cron_seconds",
    "dst_gap",
    "dst_overlap",
    "execution_frequency",
    "starts_at",
    "timezone",
    "timezone_type",
}
_CONTENT_FIELDS = {"callback_url", "headers", "payload"}
_OTHER_FIELDS = {
    "description",
    "ends_at",
    "is_active",
    "max_attempts",
    "misfire_grace",
    "misfire_policy",
    "name",
    "repeats",
    "skip_overlapping",
    "timeout",
}
_EDITABLE_FIELDS = _TIMING_FIELDS | _CONTENT_FIELDS | _OTHER_FIELDS
_COMPUTED_FIELDS = ["anchor_at", "deactivation_reason", "effective_from", "next_run_at", "updated_at"]


@dataclass(frozen=True, slots=True)
class _Party:
    """Whom a new schedule is for."""

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
    """A new schedule with its first run computed; it may be due at once.

    `values` holds the editable fields. Raises MissingTokenOrCommandError, InvalidCommandError or InvalidInputError.
    """
    party = _party(context, command_uuid, is_owned_by_user=is_owned_by_user)
    schedule = ScheduledExecution(organization=party.organization, command=party.command, owner=party.owner)
    _apply(schedule, values)
    if schedule.repeats == 0:
        raise InvalidInputError(errors={"repeats": ["Must be -1 (for ever) or at least 1."]})
    now = clock.now()
    _start(schedule, now)
    _refuse_without_run(schedule)
    if not schedule.is_active:
        schedule.deactivation_reason = DeactivationReason.PAUSED
    schedule.save(force_insert=True)
    _wake_dispatcher(schedule, now)
    return schedule


@transaction.atomic
def update_scheduled_execution(*, schedule: ScheduledExecution, changes: Mapping[str, Any]) -> ScheduledExecution:
    """Changes the fields that are given and cancels what the old version has not sent yet.

    Its phase begins anew only where the timing changed; when it ends is no part of that. Raises InvalidInputError.
    """
    schedule = _locked(schedule)
    now = clock.now()
    _withdraw_ahead(schedule, now)
    before = {field: getattr(schedule, field) for field in _EDITABLE_FIELDS}
    passed = _passed_slots(schedule, now)
    if changes.get("callback_url") == schedule.command.callback_url and not schedule.callback_url:
        # The answer to GET shows the command's URL; sent back unchanged, it is still the command's.
        changes = {field: value for field, value in changes.items() if field != "callback_url"}
    _apply(schedule, changes)
    changed = {field for field in _EDITABLE_FIELDS if getattr(schedule, field) != before[field]}
    if schedule.repeats == 0 and schedule.is_active:
        if "is_active" in changes:
            raise InvalidInputError(errors={"is_active": ["No repeats are left: set repeats to run it again."]})
        schedule.is_active = False
    timing_changed = bool(changed & _TIMING_FIELDS)
    was_active = bool(before["is_active"])
    _apply_transition(schedule, now, was_active=was_active, timing_changed=timing_changed)
    _refuse_without_run(schedule)
    schedule.save(update_fields=[*_EDITABLE_FIELDS, *_COMPUTED_FIELDS])
    if passed and (timing_changed or (schedule.is_active and not was_active)):
        reason = Reason.SCHEDULE_CHANGED if was_active else Reason.PAUSED
        ledger.insert([passed.row_of(schedule, reason)], now=now)
    if was_active and not schedule.is_active:
        cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_PAUSED)
    elif timing_changed or changed & _CONTENT_FIELDS:
        cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_CHANGED)
    _wake_dispatcher(schedule, now)
    return schedule


@transaction.atomic
def delete_scheduled_execution(*, schedule: ScheduledExecution) -> None:
    """Removes the schedule and cancels what it has not sent; its ledger rows stay."""
    schedule, now = _locked(schedule), clock.now()
    _withdraw_ahead(schedule, now)
    passed = _passed_slots(schedule, now)
    if passed:
        reason = Reason.SCHEDULE_DELETED if schedule.is_active else Reason.PAUSED
        ledger.insert([passed.row_of(schedule, reason)], now=now)
    cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_DELETED)
    schedule.delete()


def pause(*, schedule: ScheduledExecution) -> ScheduledExecution:
    """Stops it until it is resumed; what it has not sent is cancelled."""
    return update_scheduled_execution(schedule=schedule, changes={"is_active": False})


def resume(*, schedule: ScheduledExecution) -> ScheduledExecution:
    """Goes on from now, in its old phase; the slots of the pause are recorded as skipped. Raises InvalidInputError."""
    return update_scheduled_execution(schedule=schedule, changes={"is_active": True})


@transaction.atomic
def run_now(*, schedule: ScheduledExecution) -> None:
    """One extra run, at once, that takes none of the repeats. Raises InvalidInputError where nothing can be called."""
    schedule = _locked(schedule)
    due = due_view(schedule.pk)
    if due.skip:
        raise InvalidInputError(f"It cannot run: {Reason(due.skip).label}.")
    now = clock.now()
    insert_slots([Slot(due.id, now, due.callback_url, origin_of(due.callback_url))], now=now, kind=Kind.MANUAL)
    broker.send_hint_on_commit(deliver_pending)


def redeliver_slot(*, delivery: Delivery) -> None:
    """Sends one finished slot once more. Raises NotRedeliverableError."""
    if not redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk)):
        raise NotRedeliverableError


@transaction.atomic
def redeliver_slots(
    *,
    schedule: ScheduledExecution,
    due_from: datetime,
    due_to: datetime,
    states: Sequence[str],
    limit: int,
    dry_run: bool = False,
) -> int:
    """Sends the oldest `limit` of its finished slots in [due_from, due_to) once more; how many they are."""
    rows = Delivery.objects.of_source(schedule.uuid).filter(due_at__gte=due_from, due_at__lt=due_to, state__in=states)
    chosen = list(redeliverable(rows).order_by("due_at").values_list("pk", flat=True)[:limit])
    return len(chosen) if dry_run else redeliver(deliveries=Delivery.objects.filter(pk__in=chosen))


def recompute_next_runs(*, schedules: Q) -> int:
    """Computes the next run of cron schedules anew, after the zone they are read in has changed; how many.

    Those that are paused go on in the new zone too when they are resumed; those that are completed stay so.
    """
    count = 0
    rows = ScheduledExecution.objects.exclude(cron="").exclude(next_run_at=None).filter(schedules)
    for pk in list(rows.values_list("pk", flat=True)):
        with transaction.atomic():
            schedule = _locked_or_none(pk)
            # It may have been deleted, changed or completed since it was found.
            if schedule is None or not schedule.cron or schedule.next_run_at is None:
                continue
            now = clock.now()
            _withdraw_ahead(schedule, now)
            if schedule.next_run_at <= now and schedule.is_active:
                # Due already: the dispatcher fires it, and computes what follows in the new zone.
                continue
            passed = _passed_slots(schedule, now)
            if passed:
                ledger.insert([passed.row_of(schedule, Reason.PAUSED)], now=now)
            _start(schedule, now)
            if schedule.is_active and schedule.next_run_at is None:
                schedule.is_active = False
                schedule.deactivation_reason = DeactivationReason.COMPLETED
            schedule.save(update_fields=["is_active", *_COMPUTED_FIELDS])
            _wake_dispatcher(schedule, now)
            count += 1
    return count


def _party(context: CallerContext, command_uuid: UUID | None, *, is_owned_by_user: bool) -> _Party:
    token = context.token
    if token is not None:
        if command_uuid is not None and command_uuid != token.command.uuid:
            raise InvalidCommandError
        return _Party(token.organization, token.command, token.user if is_owned_by_user else None)
    if command_uuid is None:
        raise MissingTokenOrCommandError
    command = Command.objects.filter(uuid=command_uuid, organization=context.organization, is_active=True).first()
    if command is None:
        raise InvalidCommandError
    return _Party(context.organization, command, None)


def _locked(schedule: ScheduledExecution) -> ScheduledExecution:
    """The row as it is now, with its lock: a dispatcher that has it is waited for. May raise NotFoundError."""
    locked = (
        ScheduledExecution.objects.select_for_update(of=("self",))
        .select_related("organization", "command__organization", "owner")
        .filter(pk=schedule.pk)
        .first()
    )
    if locked is None:
        # Somebody has deleted it since it was found.
        raise NotFoundError
    return locked


def _withdraw_ahead(schedule: ScheduledExecution, now: datetime) -> None:
    """Takes back its slot that was written before its time, where that is still to come: a change comes before it."""
    next_run_at = withdraw_ahead([schedule.uuid], now=now).get(schedule.pk)
    if next_run_at is not None:
        schedule.next_run_at = next_run_at


def _locked_or_none(pk: int) -> ScheduledExecution | None:
    try:
        return _locked(ScheduledExecution(pk=pk))
    except NotFoundError:
        return None


def _apply(schedule: ScheduledExecution, values: Mapping[str, Any]) -> None:
    """Sets the given fields and checks the whole. Raises InvalidInputError with every field that is wrong."""
    for field in _EDITABLE_FIELDS & values.keys():
        setattr(schedule, field, values[field])
    errors: dict[str, list[str]] = {}
    for field, check in _CHECKS.items():
        try:
            check(schedule)
        except InvalidInputError as error:
            errors[field] = [error.message]
    if errors:
        raise InvalidInputError(errors=errors)


def _check_cron(schedule: ScheduledExecution) -> None:
    if schedule.cron:
        parse_cron(schedule.cron, seconds=schedule.cron_seconds)


def _check_frequency(schedule: ScheduledExecution) -> None:
    if settings.FREQUENCY_UNIT * schedule.execution_frequency > LONGEST_PERIOD:
        raise InvalidInputError("The period may be ten years at most.")


def _check_payload(schedule: ScheduledExecution) -> None:
    if len(orjson.dumps(schedule.payload)) > LARGEST_PAYLOAD:
        raise InvalidInputError(f"The payload may have {LARGEST_PAYLOAD} bytes of JSON at most.")


def _check_callback_url(schedule: ScheduledExecution) -> None:
    if schedule.callback_url:
        schedule.callback_url = address_guard().check_url(schedule.callback_url)


def _check_timezone_type(schedule: ScheduledExecution) -> None:
    if schedule.timezone_type == TimezoneType.USER and schedule.owner is None:
        raise InvalidInputError("user_timezone needs a schedule that is owned by a user.")


def _check_timezone(schedule: ScheduledExecution) -> None:
    if schedule.timezone_type == TimezoneType.CUSTOM and not schedule.timezone:
        raise InvalidInputError("custom_timezone needs the name of a time zone.")
    if schedule.timezone:
        schedule.timezone = check_zone(schedule.timezone)


def _check_window(schedule: ScheduledExecution) -> None:
    if schedule.starts_at and schedule.ends_at and schedule.starts_at > schedule.ends_at:
        raise InvalidInputError("ends_at must not be before starts_at.")


def _check_start(schedule: ScheduledExecution) -> None:
    # A period is counted from one period before; what is so early is a mistake, and the calendar ends.
    if schedule.starts_at and schedule.starts_at.year < _FIRST_YEAR:
        raise InvalidInputError(f"starts_at must not be before {_FIRST_YEAR}.")


def _check_headers(schedule: ScheduledExecution) -> None:
    schedule.headers = check_headers(schedule.headers)


_CHECKS = {
    "starts_at": _check_start,
    "ends_at": _check_window,
    "headers": _check_headers,
    "cron": _check_cron,
    "execution_frequency": _check_frequency,
    "payload": _check_payload,
    "callback_url": _check_callback_url,
    "timezone_type": _check_timezone_type,
    "timezone": _check_timezone,
}


def _start(schedule: ScheduledExecution, now: datetime) -> None:
    """Begins a timing at `now` and computes its first run: None where its window holds none.

    Where `starts_at` is given, a one-off runs then, and a period counts from then, with its first slot there.
    """
    schedule.effective_from = now
    if schedule.cron:
        schedule.anchor_at = now
        schedule.next_run_at = _slot_after(schedule, now)
    elif schedule.execution_frequency:
        schedule.anchor_at = _phase(schedule, now)
        schedule.next_run_at = _slot_after(schedule, now)
    else:
        schedule.anchor_at = max(now, schedule.starts_at or now)
        is_over = schedule.ends_at is not None and schedule.anchor_at > schedule.ends_at
        schedule.next_run_at = None if is_over else schedule.anchor_at


def _phase(schedule: ScheduledExecution, now: datetime) -> datetime:
    if schedule.starts_at is not None:
        return schedule.starts_at - settings.FREQUENCY_UNIT * schedule.execution_frequency
    # The next whole second, so that no run comes before its whole period is over.
    return now if now.microsecond == 0 else now.replace(microsecond=0) + timedelta(seconds=1)


def _slot_after(schedule: ScheduledExecution, now: datetime) -> datetime | None:
    """The first slot after `now` that lies in the schedule's window, by the zone rules that this process has."""
    transaction.on_commit(zone_rules.note_use, robust=True)
    return next_slot_within(schedule.recurrence, after=now, starts_at=schedule.starts_at, ends_at=schedule.ends_at)


def _apply_transition(schedule: ScheduledExecution, now: datetime, *, was_active: bool, timing_changed: bool) -> None:
    resumed = schedule.is_active and not was_active
    if schedule.next_run_at and schedule.ends_at and schedule.next_run_at > schedule.ends_at:
        schedule.next_run_at = None
    if timing_changed:
        _start(schedule, now)
    elif resumed and schedule.next_run_at is None:
        _restart(schedule, now)
    elif resumed:
        _skip_pause(schedule, now)
    if schedule.is_active:
        schedule.deactivation_reason = ""
    elif was_active:
        done = schedule.repeats == 0
        schedule.deactivation_reason = DeactivationReason.COMPLETED if done else DeactivationReason.PAUSED


def _refuse_without_run(schedule: ScheduledExecution) -> None:
    if schedule.is_active and schedule.next_run_at is None:
        raise InvalidInputError(errors={"ends_at": ["The schedule would never run: it has no slot before it ends."]})


def _restart(schedule: ScheduledExecution, now: datetime) -> None:
    """A completed schedule runs again: a one-off at once, the others at their next slot, in their old phase."""
    schedule.effective_from = now
    schedule.next_run_at = _slot_after(schedule, now)
    if schedule.next_run_at is None:
        _start(schedule, now)


def _skip_pause(schedule: ScheduledExecution, now: datetime) -> None:
    """Goes on after a pause, in the old phase. A one-off has not had its only run yet: it has it now."""
    if not schedule.is_recurring:
        if schedule.next_run_at is not None and schedule.next_run_at <= now:
            _start(schedule, now)
        return
    if schedule.deactivation_reason == DeactivationReason.FAILING:
        # What failed before it was resumed counts no more.
        schedule.effective_from = now
    schedule.next_run_at = _slot_after(schedule, now)


@dataclass(frozen=True, slots=True)
class _Passed:
    """Slots that have passed and that no dispatcher has seen."""

    first: datetime
    last: datetime
    count: int

    def row_of(self, schedule: ScheduledExecution, reason: Reason) -> NewRow:
        return skipped_row(schedule, self.first, reason, last_due_at=self.last, count=self.count)


def _passed_slots(schedule: ScheduledExecution, now: datetime) -> _Passed | None:
    """Those from its next run to now, where it will not run any more: in a pause, or by a timing that is given up."""
    first = schedule.next_run_at
    if first is None or first > now or not (schedule.is_recurring or schedule.is_active):
        return None
    passed = missed(schedule.recurrence, first=first, now=max(first, min(now, schedule.ends_at or now)))
    return _Passed(first, passed.latest, passed.earlier_count + 1)


def _wake_dispatcher(schedule: ScheduledExecution, now: datetime) -> None:
    """What is due at once, or in a moment, need not wait for a tick that may pass before this is committed."""
    if schedule.is_active and schedule.next_run_at is not None and schedule.next_run_at <= now + AHEAD:
        broker.send_hint_on_commit(dispatch_due)
