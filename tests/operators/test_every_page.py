"""Opens every page and submits every form of the admin, for all registered models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.test.html import parse_html
from django.urls import reverse

from tests.admin import Samples, make_operator, make_samples, page, page_of
from tests.factories import make_command
from tests.operators.forms import form_of, present_data, valid_data

MODELS: list[type[Model]] = list(admin.site._registry)
IDS = [model._meta.label for model in MODELS]

each_model = pytest.mark.parametrize("model", MODELS, ids=IDS)
each_login = pytest.mark.parametrize("login", ["superuser", "viewer", "nobody"])


@pytest.fixture
def samples(db: None) -> Samples:
    return make_samples()


def _client(login: str) -> Client:
    if login == "superuser":
        return make_operator(is_superuser=True)
    viewed = Permission.objects.filter(codename__startswith="view_").select_related("content_type")
    names = [f"{each.content_type.app_label}.{each.codename}" for each in viewed] if login == "viewer" else []
    return make_operator(*names)


def _row(samples: Samples, model: type[Model]) -> Model:
    """Returns the sample row of the model. If this fails for a new model, add a row of it to `make_samples`."""
    return next(row for row in samples.rows if type(row) is model)


def _pages_of(model: type[Model]) -> Any:
    return admin.site._registry[model]


def _object_actions(model: type[Model]) -> list[str]:
    pages = _pages_of(model)
    names: list[str] = pages._extract_action_names(pages.actions_detail)
    return names


def _paths(samples: Samples, model: type[Model]) -> Iterator[str]:
    row = _row(samples, model)
    yield page(model, "changelist")
    yield page(model, "add")
    for name in ("change", "history", "delete", *_object_actions(model)):
        yield page_of(row, name)


def _assert_is_a_page(response: Any, path: str) -> None:
    assert response.status_code in (200, 302, 403), (path, response.status_code)
    if response.status_code == 200:
        assert parse_html(response.content.decode())


@each_login
@each_model
def test_every_page_opens(samples: Samples, model: type[Model], login: str) -> None:
    client = _client(login)

    for path in _paths(samples, model):
        # htmx sends this header when it asks for the dialog of an action.
        _assert_is_a_page(client.get(path, headers={"HX-Request": "true"}), path)


@pytest.mark.parametrize("name", ["index", "password_change", "search"])
@each_login
def test_every_page_without_a_model_opens(samples: Samples, login: str, name: str) -> None:
    assert _client(login).get(reverse(f"admin:{name}")).status_code == 200


@each_login
@each_model
def test_an_empty_form_causes_no_server_error(samples: Samples, model: type[Model], login: str) -> None:
    client = _client(login)

    for path in _paths(samples, model):
        _assert_is_a_page(client.post(path), path)


@each_model
def test_every_form_saves_a_valid_object(samples: Samples, model: type[Model]) -> None:
    client = _client("superuser")
    if client.get(page(model, "add")).status_code == 403:
        return
    form = form_of(client, page(model, "add"))
    # An installation takes a public command of another organization that is not installed yet.
    rows = [*samples.rows, make_command(is_public=True)]
    before = model._default_manager.count()

    response = client.post(page(model, "add"), valid_data(form, rows))

    assert form.fields
    assert response.status_code == 302, response.context["adminform"].errors
    assert model._default_manager.count() == before + 1


@each_model
def test_an_unchanged_form_is_saved(samples: Samples, model: type[Model]) -> None:
    client = _client("superuser")
    row = _row(samples, model)
    form = form_of(client, page_of(row))

    response = client.post(page_of(row), present_data(form))

    # A read-only page accepts no form.
    if response.status_code != 403:
        assert response.status_code == 302, response.context["adminform"].errors


@each_model
def test_every_action_of_an_objects_page_runs_after_its_confirmation(samples: Samples, model: type[Model]) -> None:
    client = _client("superuser")

    for name in _object_actions(model):
        path = page_of(_row(samples, model), name)
        question = client.get(path, headers={"HX-Request": "true"})
        assert (question.status_code, question.context["form"].is_bound) == (200, False), path
        assert client.post(path, {"_form_submitted": "on"}, follow=True).status_code == 200, path


@each_login
@each_model
def test_every_action_of_a_list_runs(samples: Samples, model: type[Model], login: str) -> None:
    client = _client(login)
    row = _row(samples, model)

    for name in (*_pages_of(model).actions, "delete_selected"):
        data = {"action": name, "index": "0", "_selected_action": [str(row.pk)]}
        _assert_is_a_page(client.post(page(model, "changelist"), data), name)


@each_model
def test_a_login_with_only_view_permissions_changes_nothing(samples: Samples, model: type[Model]) -> None:
    client = _client("viewer")
    row = _row(samples, model)
    before = model._default_manager.filter(pk=row.pk).values().get()

    for path in _paths(samples, model):
        client.post(path, {"_form_submitted": "on", "post": "yes"})
    for name in (*_pages_of(model).actions, "delete_selected"):
        data = {"action": name, "index": "0", "_selected_action": [str(row.pk)], "post": "yes"}
        client.post(page(model, "changelist"), data)

    assert model._default_manager.filter(pk=row.pk).values().get() == before
