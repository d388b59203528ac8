"""Pages show a login with few permissions only links that it may open."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from deliveries.models import Delivery
from organizations.models import Command
from scheduling.models import ScheduledExecution
from tests.admin import Samples, every_page, make_operator, make_samples, page, page_of

LOGINS = {
    "nothing": (),
    "deliveries": ("deliveries.view_delivery",),
    "schedules": ("scheduling.view_scheduledexecution",),
    "directory": ("organizations.view_organization", "organizations.view_user", "organizations.view_command"),
    "all but the directory": (
        *("deliveries.view_delivery", "scheduling.view_scheduledexecution", "events.view_hook", "storage.view_item"),
        *("activity.view_activityrecord", "auth_tokens.view_apikey", "admin.view_logentry"),
    ),
    "logins, as no superuser": ("auth.view_user", "auth.view_group", "auth.change_user"),
    "keys, to add": ("auth_tokens.add_apikey", "auth_tokens.view_apikey"),
}


@pytest.fixture
def samples(db: None) -> Samples:
    return make_samples()


def _links(html: str) -> set[str]:
    found = {match.replace("&amp;", "&") for match in re.findall(r'(?:href|hx-get)="(/admin/[^"#]*)', html)}
    return {link for link in found if "logout" not in link}


def _row(samples: Samples, model: type[Model]) -> Model:
    return next(row for row in samples.rows if type(row) is model)


def _sidebar(client: Client) -> set[str]:
    groups = client.get(reverse("admin:index")).context["sidebar_navigation"]
    return {item["title"] for group in groups for item in group["items"] if item["has_permission"]}


@pytest.mark.parametrize("permissions", LOGINS.values(), ids=LOGINS)
def test_no_page_links_to_a_page_that_is_refused(samples: Samples, permissions: tuple[str, ...]) -> None:
    client = make_operator(*permissions)
    seen: set[str] = set()
    for path in every_page(samples):
        response = client.get(path)
        if response.status_code == 200:
            seen |= _links(response.content.decode())

    refused = {link for link in sorted(seen) if client.get(link).status_code not in (200, 302)}

    assert not refused


def test_objects_that_may_not_be_opened_are_plain_text(samples: Samples) -> None:
    delivery, command = _row(samples, Delivery), _row(samples, Command)
    narrow, wide = make_operator("deliveries.view_delivery"), make_operator(is_superuser=True)

    assert page_of(command) in wide.get(page_of(delivery)).content.decode()
    html = narrow.get(page_of(delivery)).content.decode()
    assert page_of(command) not in html
    assert str(command) in html


def test_a_schedules_page_shows_no_deliveries_without_the_permission_to_see_them(samples: Samples) -> None:
    schedule, delivery = _row(samples, ScheduledExecution), _row(samples, Delivery)
    narrow = make_operator("scheduling.view_scheduledexecution")

    html = narrow.get(page_of(schedule)).content.decode()

    assert "Next runs" in html
    assert "Latest deliveries" not in html
    assert str(delivery.pk) not in html


def test_looking_up_a_schedule_needs_the_permission_to_see_schedules(samples: Samples) -> None:
    schedule = _row(samples, ScheduledExecution)
    path = reverse("admin:scheduling_scheduledexecution_by_uuid", args=[schedule.uuid])  # type: ignore[attr-defined]

    assert make_operator("deliveries.view_delivery").get(path).status_code == 403
    assert make_operator("scheduling.view_scheduledexecution").get(path)["Location"] == page_of(schedule)


def test_the_sidebar_lists_only_pages_that_may_be_opened(db: None) -> None:
    assert _sidebar(make_operator("deliveries.view_delivery")) == {"Dashboard", "Deliveries"}
    assert _sidebar(make_operator("auth.view_user")) == {"Dashboard"}
    assert {"Logins", "Log", "Organizations"} < _sidebar(make_operator(is_superuser=True))


def test_every_model_with_pages_is_in_the_sidebar(db: None) -> None:
    client = make_operator(is_superuser=True)

    links = _links(client.get(reverse("admin:index")).content.decode())

    assert {page(model, "changelist") for model in admin.site._registry} <= links


def test_a_filter_by_a_hidden_model_is_not_offered(samples: Samples) -> None:
    command = _row(samples, Command)
    narrow: Client = make_operator("deliveries.view_delivery")

    html = narrow.get(page(Delivery, "changelist")).content.decode()

    assert "command__id__exact" not in html
    assert narrow.get(f"{page(Delivery, 'changelist')}?command__id__exact={command.pk}").status_code in (302, 400)


def test_the_dashboard_has_no_figures_without_the_permission_to_see_deliveries(samples: Samples) -> None:
    response = make_operator("organizations.view_user").get(reverse("admin:index"))

    assert "figures" not in response.context
    assert "Latest failures" not in response.content.decode()
