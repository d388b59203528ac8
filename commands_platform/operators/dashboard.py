"""Shows on the admin's first page whether deliveries are being sent.

The page needs only a few queries, however large the ledger is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.dataclasses import SearchResult

from commands_platform.lib.database.identifiers import first_ledger_id_at
from commands_platform.lib.http.routes import parse_uuid
from commands_platform.operators import html
from commands_platform.operators.permissions import may_view, url_if_allowed
from deliveries.models import Delivery, DeliveryQuerySet, State
from processes.heartbeats import health_by_role
from processes.models import Role
from scheduling.models import ScheduledExecution

# Above this number of rows the dashboard shows "10,000+".
_MAX_COUNTED = 10_000
_MAX_FAILURES_SHOWN = 8
FAILED_QUERY = "?state__exact=failed&period=day"
# If the oldest overdue delivery has waited longer than this, the dashboard marks the delay as bad.
_MAX_DELAY = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Figure:
    """A card with a title, a figure, and a line that explains it."""

    title: str
    figure: str
    note: str
    is_bad: bool = False
    url: str = ""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds figures and the latest failures to the first page, for operators who may see deliveries."""
    if not may_view("deliveries_delivery", request):
        return {**context, "title": "Dashboard"}
    recent = _of_the_last_hour()
    return {
        **context,
        "title": "Dashboard",
        "figures": [
            *(_waiting(), _overdue(), *_outcomes(recent)),
            *([_next_run()] if may_view("scheduling_scheduledexecution", request) else []),
            _processes(),
        ],
        "failures": _failure_rows(recent),
        "failures_url": _deliveries_url(FAILED_QUERY),
    }


def find_by_uuid(request: HttpRequest, term: str) -> list[SearchResult]:
    """Returns the objects with this UUID that the operator may see, for the search that Ctrl-K opens."""
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
    """Returns the newest rows of the last hour, at most _MAX_COUNTED. The time is read from the primary key."""
    rows = Delivery.objects.filter(pk__gte=first_ledger_id_at(timezone.now() - timedelta(hours=1)))
    first = rows.order_by("-pk").values_list("pk", flat=True)[_MAX_COUNTED - 1 : _MAX_COUNTED].first()
    return rows if first is None else rows.filter(pk__gte=first)


def _waiting() -> Figure:
    pending = Delivery.objects.pending().order_by()[: _MAX_COUNTED + 1].count()
    return Figure(
        "Pending",
        _number(pending),
        "due, in flight, or waiting for a retry",
        url=_deliveries_url("?state__exact=pending"),
    )


def _overdue() -> Figure:
    now = timezone.now()
    oldest = Delivery.objects.due(now).order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
    if oldest is None:
        return Figure("Delay", "none", "no delivery is overdue")
    age = now - oldest
    return Figure("Delay", html.rough_span(age), "of the oldest overdue delivery", is_bad=age > _MAX_DELAY)


def _outcomes(recent: DeliveryQuerySet) -> list[Figure]:
    counts = recent.aggregate(
        rows=Count("pk"),
        **{state.value: Count("pk", filter=Q(state=state.value)) for state in State},
    )
    scope = "in the last hour"
    if counts["rows"] >= _MAX_COUNTED:
        scope = f"of the latest {_MAX_COUNTED:,} deliveries"
    delivered, failed = counts["delivered"], counts["failed"]
    share = f"{failed / (delivered + failed):.1%} of the finished ones" if failed else scope
    return [
        Figure("Delivered", f"{delivered:,}", scope),
        Figure("Failed", f"{failed:,}", share, is_bad=failed > delivered, url=_deliveries_url(FAILED_QUERY)),
    ]


def _next_run() -> Figure:
    upcoming = ScheduledExecution.objects.active().order_by("next_run_at").values_list("next_run_at", flat=True).first()
    if upcoming is None:
        return Figure("Next run", "none", "no schedule is active")
    return Figure("Next run", html.distance(upcoming), f"{upcoming:%Y-%m-%d %H:%M:%S} UTC")


def _processes() -> Figure:
    health = health_by_role()
    counts = {role: health[role].alive if role in health else 0 for role in Role}
    note = " · ".join(f"{role} {count}" for role, count in counts.items())
    missing = [role for role, count in counts.items() if not count]
    if missing:
        return Figure("Processes", f"no {' and no '.join(missing)}", note, is_bad=True)
    return Figure("Processes", "all running", note)


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
        for row in failed.defer("body", "attempts")[:_MAX_FAILURES_SHOWN]
    ]


def _number(count: int) -> str:
    return f"{_MAX_COUNTED:,}+" if count > _MAX_COUNTED else f"{count:,}"


def _deliveries_url(query: str) -> str:
    return url_if_allowed("deliveries_delivery_changelist", query=query)
