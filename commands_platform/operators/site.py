"""The value of the setting UNFOLD: the admin's name, colours and navigation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

from commands_platform.operators.permissions import may_view


def _may_view(model: str) -> Callable[[HttpRequest], bool]:
    return lambda request: may_view(model, request)


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
        "permission": _may_view(model),
    }


def _stylesheet(_request: HttpRequest) -> str:
    return static("operators/admin.css")


def _icon(_request: HttpRequest) -> str:
    return static("operators/favicon.svg")


THEME: dict[str, Any] = {
    "SITE_TITLE": "Commands Platform",
    "SITE_HEADER": "Commands Platform",
    "SITE_SYMBOL": "schedule_send",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SITE_URL": reverse_lazy("docs"),
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "commands_platform.operators.dashboard.dashboard",
    "STYLES": [_stylesheet],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(58.5% .233 277.117)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        },
    },
    "COMMAND": {"search_callback": "commands_platform.operators.dashboard.find_by_uuid"},
    "SIDEBAR": {
        "navigation": [
            {"items": [{"title": "Dashboard", "icon": "monitoring", "link": reverse_lazy("admin:index")}]},
            {
                "title": "Work",
                "items": [
                    _item("Scheduled executions", "event_repeat", "scheduling.scheduledexecution"),
                    _item("Deliveries", "outbox", "deliveries.delivery"),
                    _item("Calendars", "event_busy", "scheduling.calendar"),
                ],
            },
            {
                "title": "Data",
                "items": [
                    _item("Hooks", "notifications", "events.hook"),
                    _item("Items", "database", "storage.item"),
                    _item("Activity", "history", "activity.activityrecord"),
                ],
            },
            {
                "title": "Directory",
                "items": [
                    _item("Organizations", "domain", "organizations.organization"),
                    _item("Users", "group", "organizations.user"),
                    _item("Commands", "terminal", "organizations.command"),
                    _item("Installations", "extension", "organizations.installation"),
                    _item("API keys", "key", "auth_tokens.apikey"),
                    _item("Changes", "history_edu", "audit.change"),
                ],
            },
            {
                "title": "Operators",
                "items": [
                    _item("Logins", "manage_accounts", "auth.user"),
                    _item("Groups", "groups", "auth.group"),
                    _item("Log", "receipt_long", "admin.logentry"),
                ],
            },
            {"title": "Server", "items": [_item("Processes", "memory", "processes.process")]},
        ],
    },
}
