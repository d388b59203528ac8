"""The quotas on schedules."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice, pairwise

from commands_platform.lib.counters import add_in_hour
from organizations import quotas
from organizations.models import Organization
from organizations.quotas import Quota, QuotaExceededError
from scheduling.models import ScheduledExecution
from scheduling.recurrence import slots

# Enough to see the shortest wait of a rule such as `0,1 9-17 * * *`.
_SLOTS_LOOKED_AT = 50


def use_schedules(organization: Organization, amount: int = 1) -> None:
    """Raises QuotaExceededError if the organization has no room for that many more schedules."""
    of_organization = ScheduledExecution.objects.filter(organization=organization).order_by()
    quotas.use(organization, Quota.SCHEDULES, amount, count=lambda limit: of_organization[: limit + 1].count())


def check_period(schedule: ScheduledExecution) -> None:
    """Raises QuotaExceededError if two of the next runs are closer than the organization's shortest period."""
    shortest = quotas.limit_of(schedule.organization, Quota.SHORTEST_PERIOD)
    if not shortest or schedule.next_run_at is None or not schedule.is_recurring:
        return
    following = islice(slots(schedule.recurrence, after=schedule.next_run_at), _SLOTS_LOOKED_AT)
    waits = [later - earlier for earlier, later in pairwise([schedule.next_run_at, *following])]
    if waits and min(waits) < timedelta(seconds=shortest):
        found = min(waits).total_seconds()
        raise QuotaExceededError(
            f'The quota "{Quota.SHORTEST_PERIOD}" is exceeded: two of the runs would be {found:g} seconds apart, and'
            f" the organization may have a run every {shortest} seconds."
        )


def use_redeliveries(organization: Organization, amount: int) -> None:
    """Raises QuotaExceededError if the organization has no more redeliveries in this hour. Without Valkey, it has."""
    limit = quotas.limit_of(organization, Quota.REDELIVERIES)
    if not limit or not amount:
        return
    used = add_in_hour(f"redeliveries/{organization.pk}", amount)
    if used is not None and used > limit:
        add_in_hour(f"redeliveries/{organization.pk}", -amount)
        quotas.refuse(Quota.REDELIVERIES, used=used - amount, limit=limit)
