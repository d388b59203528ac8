"""Quotas limit the use of the server by one organization. It may have its own, and the settings have the defaults.

Counting what is used can take long. So a process counts again only after a while, as long as much of the quota is left.
Near the limit it counts each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from commands_platform.lib.errors import PermissionDeniedError
from organizations.models import Organization

# A count is used while less than this share of the quota is used, and for this many times the time that it took.
_SHARE_OF_CAUTION = 0.9
_KEPT_SECONDS, _KEPT_FOR_TIMES = 10.0, 100.0
_MAX_COUNTS_KEPT = 10_000


class Quota(StrEnum):
    """The quotas. Each is a key of the setting QUOTAS, and the column `quota_<name>` of an organization."""

    SCHEDULES = "schedules"
    SHORTEST_PERIOD = "shortest_period"
    STORED_BYTES = "stored_bytes"
    HOOKS = "hooks"
    REDELIVERIES = "redeliveries"


_MEANINGS = {
    Quota.SCHEDULES: "schedules",
    Quota.STORED_BYTES: "bytes of stored keys and values",
    Quota.HOOKS: "hooks",
    Quota.REDELIVERIES: "redeliveries in this hour",
}


class QuotaExceededError(PermissionDeniedError):
    """The quota "schedules" is exceeded: the organization has 100 of 100 schedules. Remove some, or ask for more."""

    code = "quota_exceeded"


@dataclass(slots=True)
class _Count:
    used: int
    kept_until: float


_counts: dict[tuple[int, Quota], _Count] = {}
_lock = threading.Lock()


def limit_of(organization: Organization, quota: Quota) -> int:
    """Returns the organization's limit, or 0 if there is none."""
    own: int | None = getattr(organization, f"quota_{quota}")
    default: int = settings.QUOTAS[quota]
    return default if own is None else own


def use(organization: Organization, quota: Quota, amount: int, *, count: Callable[[int], int]) -> None:
    """Counts on an organization's quota. Raises QuotaExceededError if it would use more than its limit.

    `count` returns what is used now, or more than its argument if it is more than that. Requests at the same moment can
    exceed the limit together.
    """
    limit = limit_of(organization, quota)
    if not limit:
        return
    key = (organization.pk, quota)
    known = _counts.get(key)
    if known is None or known.used + amount > limit * _SHARE_OF_CAUTION or time.monotonic() > known.kept_until:
        started = time.monotonic()
        used = count(limit)
        now = time.monotonic()
        known = _Count(used, now + max(_KEPT_SECONDS, _KEPT_FOR_TIMES * (now - started)))
    if known.used + amount > limit:
        refuse(quota, used=known.used, limit=limit)
    with _lock:
        known.used += amount
        if len(_counts) >= _MAX_COUNTS_KEPT:
            _counts.clear()
        _counts[key] = known


def refuse(quota: Quota, *, used: int, limit: int) -> None:
    """Raises QuotaExceededError."""
    message = f'The quota "{quota}" is exceeded: the organization has {min(used, limit)} of {limit} {_MEANINGS[quota]}.'
    raise QuotaExceededError(f"{message} Remove some, or ask for more.")
