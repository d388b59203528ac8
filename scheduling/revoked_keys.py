"""Deactivates the schedules that a revoked API key has made, if its revocation asked for that.

It walks over all schedules by their primary key, because an index of who made them would slow down every run. A key
remembers how far its walk has come.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta

from django.db import transaction

from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from scheduling.failures import deactivate_locked
from scheduling.models import DeactivationReason, ScheduledExecution

_LOOKED_AT_ONCE = 5_000
_MAX_SECONDS_AT_ONCE = 0.2
# A request that still found the key valid has finished by then.
_GRACE = timedelta(minutes=1)


def pause_schedules_of_revoked_keys() -> None:
    """Walks on for a fraction of a second, by at least one portion."""
    ends_at = time.monotonic() + _MAX_SECONDS_AT_ONCE
    for api_key in ApiKey.objects.filter(pauses_after__isnull=False).order_by("revoked_at"):
        line = _line_of(api_key)
        while _walk_on(api_key, line):
            if time.monotonic() >= ends_at:
                return


def _walk_on(api_key: ApiKey, line: Collection[int]) -> bool:
    """Handles the next portion of schedules that keys of the line have made. Returns whether there is another one."""
    after = api_key.pauses_after
    schedules = ScheduledExecution.objects.filter(pk__gt=after).order_by("pk")
    rows = list(schedules.values_list("pk", "made_by_id", "is_active")[:_LOOKED_AT_ONCE])
    held = [pk for pk, made_by, is_active in rows if is_active and made_by in line and not _is_deactivated(pk)]
    if held:
        # Somebody else has these in hand. The next walk begins with them.
        api_key.pauses_after = held[0] - 1
    elif rows:
        api_key.pauses_after = rows[-1][0]
    elif api_key.revoked_at is not None and clock.now() - api_key.revoked_at >= _GRACE:
        api_key.pauses_after = None
    if api_key.pauses_after != after:
        api_key.save(update_fields=["pauses_after"])
    return bool(rows) and not held


@transaction.atomic
def _is_deactivated(pk: int) -> bool:
    """Deactivates the schedule. Returns False if somebody else has locked it or one of its deliveries."""
    active = ScheduledExecution.objects.active().filter(pk=pk)
    schedule = active.lock_free()
    if schedule is None:
        return not active.exists()
    return deactivate_locked(schedule, DeactivationReason.KEY_REVOKED, clock.now())


def _line_of(api_key: ApiKey) -> set[int]:
    """Returns the primary keys of the key and of those that it has replaced by rotation."""
    line = {api_key.pk}
    before = api_key.replaces_id
    while before is not None and before not in line:
        line.add(before)
        before = ApiKey.objects.values_list("replaces_id", flat=True).get(pk=before)
    return line
