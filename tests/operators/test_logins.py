"""Logins of operators: how to add them, and what they may do."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from organizations.models import Organization
from tests.admin import make_operator, page
from tests.operators.forms import PASSWORD, form_of


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _add(operator: Client, **changes: Any) -> Any:
    data = {"username": "grace", "password1": PASSWORD, "password2": PASSWORD, "is_staff": "on", **changes}
    return operator.post(page(User, "add"), data)


def test_the_form_of_a_new_login_has_all_fields_that_a_login_needs(operator: Client) -> None:
    fields = set(form_of(operator, page(User, "add")).fields)

    assert fields == {"username", "email", "password1", "password2", "is_staff", "is_superuser", "groups"}


def test_a_new_login_has_the_permissions_of_its_group(operator: Client) -> None:
    group = Group.objects.create(name="readers")
    group.permissions.add(Permission.objects.get(codename="view_organization"))

    _add(operator, groups=[group.pk])

    client = Client()
    assert client.login(username="grace", password=PASSWORD)
    assert client.get(page(Organization, "changelist")).status_code == 200
    assert client.get(page(Organization, "add")).status_code == 403


@pytest.mark.parametrize(
    ("password", "problem"),
    [("short", "too short"), ("password1234", "too common"), ("grace-grace", "too similar"), ("", "required")],
)
def test_a_weak_password_is_refused(operator: Client, password: str, problem: str) -> None:
    response = _add(operator, username="grace-grace", password1=password, password2=password)

    assert problem in str(response.context["adminform"].errors)
    assert not User.objects.filter(username="grace-grace").exists()


def test_different_passwords_are_refused(operator: Client) -> None:
    response = _add(operator, password2=f"{PASSWORD}!")

    assert "password2" in response.context["adminform"].errors
    assert not User.objects.filter(username="grace").exists()
