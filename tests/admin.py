"""Operators of the admin, and rows of every model for its pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from activity.models import ActivityRecord
from audit.models import Change
from events.models import Hook
from organizations import services as organization_services
from organizations.models import Command
from processes.models import Role
from scheduling.calendars import Calendar
from storage.models import Item
from tests.factories import (
    make_api_key,
    make_attempt,
    make_command,
    make_delivery,
    make_installation,
    make_organization,
    make_process,
    make_schedule,
    make_token,
    make_user,
)

_numbers = count(1)

OWN_APPS = (
    "audit",
    "organizations",
    "auth_tokens",
    "deliveries",
    "activity",
    "events",
    "scheduling",
    "storage",
    "processes",
)
MODELS: list[type[Model]] = [
    model for app in OWN_APPS for model in apps.get_app_config(app).get_models() if model in admin.site._registry
]
PAGES: list[type[Model]] = [*MODELS, User, Group, LogEntry]

HEADER_SECRET = "Bearer receivers-own-secret-3141592653"


@dataclass(frozen=True)
class Samples:
    """One row of each model, and every secret that they contain or could have picked up."""

    rows: list[Model]
    secrets: list[str]


def make_operator(*permissions: str, is_superuser: bool = False) -> Client:
    """Returns a client that is logged in as an operator with these permissions, each written as `app.codename`."""
    login = User.objects.create_user(f"operator{next(_numbers)}", is_staff=True, is_superuser=is_superuser)
    for permission in permissions:
        app, codename = permission.split(".")
        login.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(login)
    return client


def make_samples() -> Samples:
    organization = make_organization()
    command = organization_services.rotate_signing_secret(command=make_command(organization))
    user = make_user(organization)
    api_key, key = make_api_key(command=command)
    token = make_token(command, user)
    schedule = make_schedule(command, owner=user, headers={"Authorization": HEADER_SECRET})
    delivery = make_delivery(
        command,
        user=user,
        source_uuid=schedule.uuid,
        attempt_count=1,
        headers=f'{{"Authorization":"{HEADER_SECRET}"}}',
        attempts=[make_attempt(response=f'{{"exchange_token":"{token}","signature":"{command.signature}"}}')],
    )
    installation = make_installation(make_command(is_public=True), organization)
    hook = Hook.objects.create(organization=organization, command=command, user=user, subscriptions=["kudos.*"])
    calendar = Calendar.objects.create(organization=organization, name="holidays", dates='["2026-12-25"]')
    item = Item.objects.create(organization=organization, command=command, user=user, key="theme", value={"dark": True})
    record = ActivityRecord.objects.create(
        organization=organization, command=command, user=user, category="forms", action="opened", metadata={"n": 1}
    )
    process = make_process(Role.DISPATCHER, worked_ago=timedelta(seconds=1))
    change = Change.objects.filter(object_uuid=str(command.uuid)).latest("pk")
    login = User.objects.create(
        username=f"login{next(_numbers)}", password=f"pbkdf2_sha256$1000000$salt${'h4Sh' * 11}="
    )
    group = Group.objects.create(name=f"group {next(_numbers)}")
    entry = LogEntry.objects.create(
        user=login,
        content_type=ContentType.objects.get_for_model(organization),
        object_id=str(organization.pk),
        object_repr=str(organization),
        action_flag=CHANGE,
        change_message="Deactivated.",
    )
    return Samples(
        rows=[
            *(organization, user, command, installation, api_key, schedule, delivery, hook, item, record),
            *(calendar, change, process, login, group, entry),
        ],
        secrets=[
            *(command.signing_secret, command.previous_signing_secret, command.signature),
            *(key, bytes(api_key.secret_hash).hex(), token, HEADER_SECRET, login.password),
        ],
    )


def page(model: type[Model], name: str, *arguments: object) -> str:
    """Returns the path of a page of the model: `changelist`, `add`, `change` …"""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=arguments)


def page_of(row: Model, name: str = "change") -> str:
    return page(type(row), name, row.pk)


def confirm(client: Client, row: Model, action: str) -> Any:
    """Confirms the dialog of an action on the row's page. Returns the response."""
    return client.post(page_of(row, action), {"_form_submitted": "on"})


def act(client: Client, action: str, *rows: Model) -> Any:
    """Runs an action on rows that are ticked in their list. Returns the page that is shown next."""
    data = {"action": action, "index": "0", "_selected_action": [str(row.pk) for row in rows]}
    return client.post(page(type(rows[0]), "changelist"), data, follow=True)


def command_data(command: Command, **changes: Any) -> dict[str, Any]:
    """Returns the fields that the form of a command's page sends."""
    return {"name": command.name, "callback_url": command.callback_url, "is_active": "on", **changes}


def names_of(models: list[type[Model]]) -> list[str]:
    return [model._meta.label for model in models]


def html_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def number_of_queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


def every_page(samples: Samples) -> Iterator[str]:
    yield reverse("admin:index")
    for model in PAGES:
        yield page(model, "changelist")
    for row in samples.rows:
        yield page_of(row)
        yield page_of(row, "history")
