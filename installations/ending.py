"""Deactivates the schedules, removes the hooks and cancels the unsent deliveries of removed commands.

As soon as a command is removed, none of its callbacks for the organization are sent, and its tokens there are void. The
work here follows in portions, so that no lock is held for long. It leaves alone everything that was created after the
command was installed again.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import QuerySet

from audit.kinds import Verb
from audit.services import record_all
from audit.subjects import values_of
from commands_platform.lib import clock
from deliveries.models import Reason
from deliveries.services import cancel_pending_of_command, unsent_of_command
from events.models import Hook
from organizations.models import Installation
from scheduling.due import withdraw_ahead
from scheduling.models import DeactivationReason, ScheduledExecution

logger = structlog.get_logger(__name__)

_MAX_INSTALLATIONS = 10
_MAX_SCHEDULES = 500
_MAX_HOOKS = 500
_MAX_DELIVERIES = 2_000
_SECONDS_AT_ONCE = 0.2
_ENDED_BY = ("is_active", "deactivation_reason")
# A request that still found the command installed has finished by then.
_GRACE = timedelta(minutes=1)


def end_removed() -> int:
    """Works for a fraction of a second, on at least one portion. Returns the number of rows that it ended."""
    total = 0
    ends_at = time.monotonic() + _SECONDS_AT_ONCE
    removed = Installation.objects.filter(removed_at__isnull=False, ended_at=None).order_by("removed_at")
    for installation in removed[:_MAX_INSTALLATIONS]:
        while count := _end_portion(installation):
            total += count
            if time.monotonic() >= ends_at:
                return total
        _finish(installation)
    return total


def _end_portion(installation: Installation) -> int:
    before = _installed_again_at(installation) or clock.now()
    return _end_schedules(installation, before) + _end_hooks(installation, before) + _cancel(installation, before)


def _is_anything_held(installation: Installation) -> bool:
    """Returns whether there are rows that every portion skipped, because somebody else has locked them."""
    before = _installed_again_at(installation) or clock.now()
    unsent = unsent_of_command(
        command_id=installation.command_id, organization_id=installation.organization_id, before=before
    )
    return _schedules(installation, before).exists() or _hooks(installation, before).exists() or unsent.exists()


def _schedules(installation: Installation, before: datetime) -> QuerySet[ScheduledExecution]:
    return ScheduledExecution.objects.active().filter(
        organization=installation.organization_id, command=installation.command_id, created_at__lt=before
    )


def _hooks(installation: Installation, before: datetime) -> QuerySet[Hook]:
    return Hook.objects.filter(
        organization=installation.organization_id, command=installation.command_id, updated_at__lt=before
    )


def _installed_again_at(installation: Installation) -> datetime | None:
    later = Installation.objects.filter(
        command=installation.command_id, organization=installation.organization_id, pk__gt=installation.pk
    )
    return later.order_by("pk").values_list("installed_at", flat=True).first()


@transaction.atomic
def _end_schedules(installation: Installation, before: datetime) -> int:
    # If somebody else has locked a schedule, a later portion finds it again.
    locked = _schedules(installation, before).select_for_update(skip_locked=True).order_by("-pk")[:_MAX_SCHEDULES]
    found = list(locked.only("uuid", "organization", "name", *_ENDED_BY))
    if found:
        now = clock.now()
        as_it_was = [values_of(schedule, only=_ENDED_BY) for schedule in found]
        withdraw_ahead([schedule.uuid for schedule in found], now=now, waits=False)
        for schedule in found:
            schedule.is_active, schedule.deactivation_reason = False, DeactivationReason.UNINSTALLED
        ScheduledExecution.objects.filter(pk__in=[schedule.pk for schedule in found]).update(
            is_active=False, deactivation_reason=DeactivationReason.UNINSTALLED, updated_at=now
        )
        record_all(Verb.CHANGED, zip(found, as_it_was, strict=True))
    return len(found)


@transaction.atomic
def _end_hooks(installation: Installation, before: datetime) -> int:
    hooks = _hooks(installation, before)
    locked = hooks.select_for_update(of=("self",), skip_locked=True).select_related("command", "user")
    found = list(locked[:_MAX_HOOKS])
    if found:
        record_all(Verb.DELETED, ((hook, None) for hook in found))
        Hook.objects.filter(pk__in=[hook.pk for hook in found]).delete()
    return len(found)


def _cancel(installation: Installation, before: datetime) -> int:
    return cancel_pending_of_command(
        command_id=installation.command_id,
        organization_id=installation.organization_id,
        before=before,
        reason=Reason.COMMAND_NOT_INSTALLED,
        limit=_MAX_DELIVERIES,
    )


def _finish(installation: Installation) -> None:
    now = clock.now()
    is_over = installation.removed_at is not None and now - installation.removed_at >= _GRACE
    if is_over and not _is_anything_held(installation):
        Installation.objects.filter(pk=installation.pk).update(ended_at=now)
        logger.info("removed_command_ended", installation=str(installation.uuid))
