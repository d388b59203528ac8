"""Filters of the ledger's list."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from commands_platform.lib.database.identifiers import first_ledger_id_at
from deliveries.models import Delivery

if TYPE_CHECKING:
    _DropdownFilter = admin.SimpleListFilter
else:
    _DropdownFilter = DropdownFilter

_PERIODS = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
}


class PeriodFilter(_DropdownFilter):
    """Filters by the time in the primary key, so a short period is a short range of the key's index."""

    title = "period"
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, title) for code, (title, _span) in _PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        if (period := _PERIODS.get(self.value() or "")) is None:
            return queryset
        return queryset.filter(pk__gte=first_ledger_id_at(timezone.now() - period[1]))
