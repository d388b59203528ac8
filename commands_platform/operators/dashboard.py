"""The admin's first page: is work being done? A handful of queries, none of which grows with the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from redis import RedisError
from unfold.dataclasses import SearchResult

from commands_platform.lib import broker
from commands_platform.lib.database.identifiers import first_ledger_id_at
from commands_platform.lib.http.routes import parse_uuid
from commands_platform.operators import html
from commands_platform.operators.permissions import may_view, url_if_allowed
from deliveries.models import Delivery, DeliveryQuerySet, State
from scheduling.models import ScheduledExecution

# Beyond this many rows a figure says "more than".
_MOST_COUNTED = 10_000
_FAILURES_SHOWN = 8
FAILURES = "?state__exact=failed&period=day"
# Work that waits this long for a sender is not on its way.
_TOO_LATE = timedelta(seconds=10)
_BEAT_IS_LATE = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """A card: what it counts, the figure, and a line that explains it."""

    title: str
    figure: str
    note: str
    is_bad: bool = False
    url: str = ""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's callback for the index: figures and the latest failures, for operators who may see deliveries."""
    if not may_view("deliveries_delivery", request):
        return {**context, "title": "Dashboard"}
    recent = _of_the_last_hour()
    return {
        **context,
        "title": "Dashboard",
        "figures": [
            *(_waiting(), _overdue(), *_outcomes(recent)),
            *([_next_run()] if may_view("scheduling_scheduledexecution", request) else []),
            _beat(),
        ],
        "failures": _failure_rows(recent),
        "failures_url": _deliveries_url(FAILURES),
    }


def find_by_uuid(request: HttpRequest, term: str) -> list[SearchResult]:
    """For the search of Ctrl-K: the objects that a UUID belongs to, among those that the operator may see."""
    uuid = parse_uuid(term.strip())
    if uuid is None:
        return []
    results: list[SearchResult] = []
    for model, pages in admin.site._registry.items():  # noqa: SLF001 (the site has no public way to its models)
        fields = [field for field in getattr(pages, "uuid_fields", ()) if field in ("pk", "uuid")]
        if not fields or not pages.has_view_permission(request):
            continue
        results.extend(
            SearchResult(
                title=str(row),
                description=str(model._meta.verbose_name).capitalize(),
                link=pages.change_url(row),  # type: ignore[attr-defined]
                icon="data_object",
            )
            for row in model._default_manager.filter(**{fields[0]: uuid})[:1]
        )
    return results


def _of_the_last_hour() -> DeliveryQuerySet:
    """The newest rows of the last hour, by the time in their key; as many as are counted, at most."""
    rows = Delivery.objects.filter(pk__gte=first_ledger_id_at(timezone.now() - timedelta(hours=1)))
    first = rows.order_by("-pk").values_list("pk", flat=True)[_MOST_COUNTED - 1 : _MOST_COUNTED].first()
    return rows if first is None else rows.filter(pk__gte=first)


def _waiting() -> Figure:
    pending = Delivery.objects.pending().order_by()[: _MOST_COUNTED + 1].count()
    return Figure(
        "Pending",
        _number(pending),
        "due, in flight, or to be tried again",
        url=_deliveries_url("?state__exact=pending"),
    )


def _overdue() -> Figure:
    now = timezone.now()
    oldest = Delivery.objects.due(now).order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
    if oldest is None:
        return Figure("Oldest waiting", "–", "nothing waits for a sender")
    age = now - oldest
    return Figure("Oldest waiting", html.rough_span(age), "since it should have been sent", is_bad=age > _TOO_LATE)


def _outcomes(recent: DeliveryQuerySet) -> list[Figure]:
    counts = recent.aggregate(
        rows=Count("pk"),
        **{state.value: Count("pk", filter=Q(state=state.value)) for state in State},
    )
    scope = "of the slots of the last hour"
    if counts["rows"] >= _MOST_COUNTED:
        scope = f"of the latest {_MOST_COUNTED:,} slots"
    delivered, failed = counts["delivered"], counts["failed"]
    share = f"{failed / (delivered + failed):.1%} of those that ended" if failed else scope
    return [
        Figure("Delivered", f"{delivered:,}", scope),
        Figure("Failed", f"{failed:,}", share, is_bad=failed > delivered, url=_deliveries_url(FAILURES)),
    ]


def _next_run() -> Figure:
    upcoming = ScheduledExecution.objects.active().order_by("next_run_at").values_list("next_run_at", flat=True).first()
    if upcoming is None:
        return Figure("Next slot", "–", "no schedule is active")
    return Figure("Next slot", html.distance(upcoming), f"{upcoming:%Y-%m-%d %H:%M:%S} UTC")


def _beat() -> Figure:
    try:
        ticked: Any = broker.client().get(broker.beat_key())
    except (RedisError, OSError):
        return Figure("Beat", "unknown", "the broker does not answer", is_bad=True)
    if ticked is None:
        return Figure("Beat", "stopped", "no tick in the last seconds: nothing becomes due", is_bad=True)
    age = max(0, int(time.time()) - int(ticked))
    return Figure("Beat", "ticking", f"the last tick was {age} s ago", is_bad=age > _BEAT_IS_LATE)


def _failure_rows(recent: DeliveryQuerySet) -> list[dict[str, SafeString | str]]:
    failed = recent.failed().order_by("-pk").select_related("command", "organization")
    return [
        {
            "due": html.link_to("deliveries_delivery_change", row.pk, text=html.instant(row.due_at)),
            "distance": html.distance(row.due_at),
            "why": row.get_reason_display(),
            "status": str(row.last_status or "–"),
            "command": f"{row.command} · {row.organization}",
            "receiver": html.clipped(html.origin(row.url)),
        }
        for row in failed.defer("body", "attempts")[:_FAILURES_SHOWN]
    ]


def _number(count: int) -> str:
    return f"{_MOST_COUNTED:,}+" if count > _MOST_COUNTED else f"{count:,}"


def _deliveries_url(query: str) -> str:
    return url_if_allowed("deliveries_delivery_changelist", query=query)
