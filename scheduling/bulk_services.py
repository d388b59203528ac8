"""Creates many schedules at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from audit.kinds import Verb
from audit.services import record_all
from auth_tokens.models import CallerContext
from commands_platform.lib import clock
from commands_platform.lib.errors import BadRequestError, InvalidInputError
from scheduling.errors import ExternalIdTakenError
from scheduling.models import ScheduledExecution
from scheduling.quotas import check_period, use_schedules
from scheduling.schedule_log import log_all_created
from scheduling.services import after_commit, external_id_is_free, new_scheduled_execution

Errors = dict[str, list[str]]

_ROWS_PER_STATEMENT = 500


@transaction.atomic
def create_scheduled_executions(
    *, context: CallerContext, several: Sequence[Mapping[str, Any]]
) -> list[ScheduledExecution]:
    """Creates all of these schedules, or none of them.

    Raises QuotaExceededError, and InvalidInputError with the messages of all that are wrong, by their index and field.
    """
    # A void token is an error of the whole request.
    context.optional_token()
    now = clock.now()
    schedules: list[ScheduledExecution] = []
    errors: Errors = {}
    for index, values in enumerate(several):
        try:
            schedules.append(_new(context, values, now))
        except InvalidInputError as error:
            messages = error.errors or {"non_field_errors": [error.message]}
            errors |= {f"{index}.{field}": found for field, found in messages.items()}
        except BadRequestError as error:
            errors[f"{index}.command_uuid"] = [error.message]
    errors |= {} if errors else _taken(schedules)
    if errors:
        raise InvalidInputError(errors=errors)
    use_schedules(schedules[0].organization, len(schedules))
    with external_id_is_free():
        # A statement has 65,535 parameters at most.
        ScheduledExecution.objects.bulk_create(schedules, batch_size=_ROWS_PER_STATEMENT)
        record_all(Verb.CREATED, [(schedule, None) for schedule in schedules])
    # One hint is enough for all that are due in a moment.
    after_commit(min(schedules, key=_next_run_of), now)
    log_all_created(schedules)
    return schedules


def _new(context: CallerContext, values: Mapping[str, Any], now: datetime) -> ScheduledExecution:
    values = dict(values)
    command_uuid, is_owned_by_user = values.pop("command_uuid", None), values.pop("is_owned_by_user")
    schedule = new_scheduled_execution(
        context=context, values=values, command_uuid=command_uuid, is_owned_by_user=is_owned_by_user, now=now
    )
    check_period(schedule)
    return schedule


def _taken(schedules: Sequence[ScheduledExecution]) -> Errors:
    """Returns messages for those whose `external_id` another schedule has, stored or among these."""
    named = [schedule.external_id for schedule in schedules if schedule.external_id]
    if not named:
        return {}
    stored = ScheduledExecution.objects.filter(
        organization=schedules[0].organization, external_id__in=named
    ).values_list("command_id", "external_id")
    taken, errors = set(stored), {}
    for index, schedule in enumerate(schedules):
        key = (schedule.command_id, schedule.external_id)
        if schedule.external_id and key in taken:
            errors[f"{index}.external_id"] = [ExternalIdTakenError().message]
        taken.add(key)
    return errors


def _next_run_of(schedule: ScheduledExecution) -> datetime:
    """Returns when it runs next, or a time that is never soon."""
    next_run_at = schedule.next_run_at if schedule.is_active else None
    return next_run_at or datetime.max.replace(tzinfo=UTC)
