"""API keys in the admin are created, shown once and revoked, but never changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client

from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from organizations.models import Command
from tests.admin import act, confirm, make_operator, page, page_of
from tests.api import ApiClient, make_caller
from tests.factories import make_api_key, make_command, make_organization

ADD = "/admin/auth_tokens/apikey/add/"


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _values(command: Command, /, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Production",
        "organization": command.organization_id,
        "command": command.pk,
        "scopes": ["SCHEDULING", "STORAGE"],
        "expires_at_0": "",
        "expires_at_1": "",
        **changes,
    }


def _key_in(response: Any) -> str:
    key: str = response.context["shown_once"].values["X-API-KEY"]
    assert key in response.content.decode()
    return key


def test_a_key_is_created_with_the_chosen_values(operator: Client) -> None:
    command = make_command()

    operator.post(ADD, _values(command, expires_at_0="2100-01-02", expires_at_1="03:04:05"))

    row = ApiKey.objects.get()
    assert (row.name, row.organization, row.command) == ("Production", command.organization, command)
    assert row.scopes == ["SCHEDULING", "STORAGE"]
    assert row.expires_at is not None
    assert row.expires_at.isoformat() == "2100-01-02T03:04:05+00:00"


def test_the_key_that_is_shown_is_accepted_by_the_api(operator: Client) -> None:
    caller = make_caller()

    key = _key_in(operator.post(ADD, _values(caller.command, scopes=["DIRECTORY"]), follow=True))

    assert ApiClient(caller).get("/v1/me/", key=key, token=None).status_code == 200


def test_a_key_is_shown_once_on_a_page_that_is_not_cached(operator: Client) -> None:
    first = operator.post(ADD, _values(make_command()), follow=True)
    key = _key_in(first)
    again = operator.get(page_of(ApiKey.objects.get()))

    assert "no-store" in first["Cache-Control"]
    assert key not in again.content.decode()
    assert "shown-once" not in operator.cookies or not operator.cookies["shown-once"].value


def test_only_the_hash_of_a_key_is_stored(operator: Client) -> None:
    key = _key_in(operator.post(ADD, _values(make_command()), follow=True))

    secret = key.split("_")[2]
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    assert all(secret not in f"{entry.object_repr}{entry.change_message}" for entry in LogEntry.objects.all())
    assert secret not in str(ApiKey.objects.values().get())


def test_a_key_is_not_logged(operator: Client, capfd: pytest.CaptureFixture[str]) -> None:
    key = _key_in(operator.post(ADD, _values(make_command()), follow=True))

    written = capfd.readouterr()
    assert key not in written.out + written.err


def test_the_cookie_with_a_key_is_for_its_page_only_and_hidden_from_scripts(operator: Client) -> None:
    operator.post(ADD, _values(make_command()))

    cookie = operator.cookies["shown-once"]
    assert cookie["path"] == page_of(ApiKey.objects.get())
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"


def test_a_key_is_no_longer_shown_after_a_minute(operator: Client) -> None:
    operator.post(ADD, _values(make_command()))

    with time_machine.travel(clock.now() + timedelta(seconds=61), tick=False):
        response = operator.get(page_of(ApiKey.objects.get()))

    assert response.context["shown_once"] is None


def test_a_key_is_not_shown_to_another_operator(operator: Client) -> None:
    operator.post(ADD, _values(make_command()))
    another = make_operator(is_superuser=True)
    another.cookies["shown-once"] = operator.cookies["shown-once"].value

    assert another.get(page_of(ApiKey.objects.get())).context["shown_once"] is None


def test_every_save_button_shows_the_key(operator: Client) -> None:
    _key_in(operator.post(ADD, _values(make_command(), _addanother="1"), follow=True))
    _key_in(operator.post(ADD, _values(make_command(), _continue="1"), follow=True))


def test_a_key_cannot_be_bound_to_a_command_of_another_organization(operator: Client) -> None:
    response = operator.post(ADD, _values(make_command(), organization=make_organization().pk))

    assert "The command belongs to another organization." in response.content.decode()
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []},
        {"scopes": ["EVERYTHING"]},
        {"organization": ""},
        {"organization": "abc"},
        {"command": "99999999999999999999"},
        {"name": "a" * 101},
        {"name": "a\0b"},
        {"expires_at_0": "2001-01-01", "expires_at_1": "00:00:00"},
        {"expires_at_0": "soon", "expires_at_1": ""},
    ],
)
def test_an_invalid_key_is_not_created(operator: Client, changes: dict[str, Any]) -> None:
    response = operator.post(ADD, _values(make_command(), **changes))

    assert response.status_code == 200
    assert not ApiKey.objects.exists()


def test_a_key_may_be_for_an_organization_without_a_command(operator: Client) -> None:
    operator.post(ADD, _values(make_command(), command=""))

    assert ApiKey.objects.get().command is None


def test_creating_a_key_needs_the_permission_to_view_keys(db: None) -> None:
    blind, maker = (
        make_operator("auth_tokens.add_apikey"),
        make_operator("auth_tokens.add_apikey", "auth_tokens.view_apikey"),
    )

    assert blind.get(ADD).status_code == 403
    assert _key_in(maker.post(ADD, _values(make_command()), follow=True))


def test_a_forged_cookie_shows_nothing(operator: Client) -> None:
    row, _key = make_api_key(make_organization())
    for value in ("", "nonsense", "W10:1:2", "a" * 5000):
        operator.cookies["shown-once"] = value
        assert operator.get(page_of(row)).context["shown_once"] is None


def test_a_key_cannot_be_changed(operator: Client) -> None:
    row, _key = make_api_key(make_organization())

    assert operator.post(page_of(row), {"name": "Another", "scopes": ["STORAGE"]}).status_code == 403


def test_a_revoked_key_is_refused(operator: Client) -> None:
    caller = make_caller()

    confirm(operator, caller.api_key, "revoke")

    assert ApiClient(caller).get("/v1/me/").status_code == 401
    assert LogEntry.objects.get().get_change_message() == "Revoked."


def test_opening_the_dialog_revokes_nothing(operator: Client) -> None:
    row, _key = make_api_key(make_organization())

    assert operator.get(page_of(row, "revoke"), headers={"HX-Request": "true"}).status_code == 200
    row.refresh_from_db()
    assert row.revoked_at is None


def test_an_action_needs_a_csrf_token(operator: Client) -> None:
    row, _key = make_api_key(make_organization())
    forged = Client(enforce_csrf_checks=True)
    forged.cookies["sessionid"] = operator.cookies["sessionid"].value

    assert confirm(forged, row, "revoke").status_code == 403


def test_several_keys_are_revoked_at_once(operator: Client) -> None:
    rows = [make_api_key(make_organization())[0] for _ in range(3)]

    response = act(operator, "revoke", *rows[:2])

    assert "Keys revoked: 2." in response.content.decode()
    assert ApiKey.objects.get(revoked_at=None) == rows[2]


@pytest.mark.parametrize("state", ["valid", "expired", "revoked"])
def test_keys_can_be_filtered_by_state(operator: Client, state: str) -> None:
    now = clock.now()
    rows = {name: make_api_key(make_organization())[0] for name in ("valid", "expired", "revoked")}
    ApiKey.objects.filter(pk=rows["expired"].pk).update(expires_at=now - timedelta(days=1))
    ApiKey.objects.filter(pk=rows["revoked"].pk).update(revoked_at=now)

    response = operator.get(f"{page(ApiKey, 'changelist')}?state={state}")

    assert list(response.context["cl"].result_list) == [rows[state]]
