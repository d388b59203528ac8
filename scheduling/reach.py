"""Decides which schedules a caller may see, and which of them the caller may change."""

from __future__ import annotations

from auth_tokens.errors import MissingTokenError
from auth_tokens.models import CallerContext
from commands_platform.lib.errors import NotFoundError, PermissionDeniedError
from commands_platform.lib.http.routes import parse_uuid
from deliveries.models import Delivery
from scheduling.models import ScheduledExecution, ScheduledExecutionQuerySet


def visible_schedules(context: CallerContext) -> ScheduledExecutionQuerySet:
    """Returns the schedules that the caller may see, with the rows that an answer needs."""
    schedules = ScheduledExecution.objects.visible_to(context)
    return schedules.select_related("organization", "command__organization", "owner")


def find_schedule(context: CallerContext, uuid: str) -> ScheduledExecution:
    """Returns the schedule if the caller may see it. Any other looks as if it did not exist.

    Raises NotFoundError, or MissingTokenError if a token might have made it visible.
    """
    parsed = parse_uuid(uuid)
    schedule = visible_schedules(context).filter(uuid=parsed).first() if parsed else None
    if schedule is not None:
        return schedule
    if not context.has_token and not context.is_manager:
        raise MissingTokenError
    raise NotFoundError


def find_own_schedule(context: CallerContext, uuid: str) -> ScheduledExecution:
    """Returns the schedule like `find_schedule`. Raises PermissionDeniedError if the caller may only see and end it."""
    schedule = find_schedule(context, uuid)
    refuse_foreign(context, schedule)
    return schedule


def refuse_foreign(context: CallerContext, schedule: ScheduledExecution) -> None:
    """Raises PermissionDeniedError for a schedule of another organization's command.

    A manager who could change its URL would receive that command's signatures and its users' tokens.
    """
    if schedule.command.organization_id != context.organization.pk:
        message = "The schedule is of another organization's command: you can read, pause and delete it."
        raise PermissionDeniedError(message)


def find_slot(schedule: ScheduledExecution, uuid: str) -> Delivery:
    """Returns one ledger row of the schedule. Raises NotFoundError."""
    parsed = parse_uuid(uuid)
    delivery = schedule.slots().select_related("command").filter(pk=parsed).first() if parsed else None
    if delivery is None:
        raise NotFoundError
    return delivery
