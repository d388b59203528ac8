"""The admin's pages of installations."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from organizations.models import Command, Installation, Organization
from tests.admin import confirm, make_operator, page, page_of
from tests.factories import make_command, make_installation, make_organization

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _add(operator: Client, command: Command, organization: Organization, **changes: Any) -> Any:
    values = {
        "organization": organization.pk,
        "command": command.pk,
        "scopes": ["STORAGE"],
        "events": "forms.*, kudos.posted",
    }
    return operator.post(page(Installation, "add"), {**values, **changes})


def test_an_operator_installs_a_command(operator: Client) -> None:
    command, organization = make_command(is_public=True), make_organization()

    _add(operator, command, organization)

    row = Installation.objects.get()
    assert (row.command, row.organization) == (command, organization)
    assert (row.scopes, row.events) == (["STORAGE"], ["forms.*", "kudos.posted"])


@pytest.mark.parametrize("which", ["private", "own", "inactive", "installed"])
def test_a_command_that_cannot_be_installed_is_refused(operator: Client, which: str) -> None:
    organization = make_organization()
    command = make_command(
        organization if which == "own" else None, is_public=which != "private", is_active=which != "inactive"
    )
    if which == "installed":
        make_installation(command, organization)

    response = _add(operator, command, organization)

    assert response.status_code == 200
    assert Installation.objects.count() == (1 if which == "installed" else 0)


def test_an_invalid_event_name_is_refused(operator: Client) -> None:
    response = _add(operator, make_command(is_public=True), make_organization(), events="Not A Name")

    assert response.status_code == 200
    assert not Installation.objects.exists()


def test_an_operator_changes_scopes_and_events(operator: Client) -> None:
    row = make_installation(make_command(is_public=True), make_organization())

    operator.post(page_of(row), {"scopes": ["ACTIVITY"], "events": ""})

    row.refresh_from_db()
    assert (row.scopes, row.events) == (["ACTIVITY"], [])


def test_an_operator_removes_a_command(operator: Client) -> None:
    row = make_installation(make_command(is_public=True), make_organization())

    confirm(operator, row, "remove")

    row.refresh_from_db()
    assert row.removed_at is not None
    assert operator.post(page_of(row), {"scopes": [], "events": ""}).status_code == 403
