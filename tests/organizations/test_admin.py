"""Organizations, users and commands in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from commands_platform.lib import clock
from organizations.models import Command, Organization, User
from tests.admin import act, command_data, confirm, make_operator, page, page_of
from tests.factories import make_command, make_organization, make_token, make_user, read_token


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _user_data(user: User, **changes: Any) -> dict[str, Any]:
    names = ("full_name", "email", "role", "timezone")
    return {name: getattr(user, name) for name in names} | {"is_active": "on", **changes}


def test_an_organization_is_created(operator: Client) -> None:
    data = {"name": "Acme", "timezone": "Europe/Berlin", "is_active": "on"}

    operator.post(page(Organization, "add"), data)

    assert Organization.objects.get().timezone == "Europe/Berlin"


@pytest.mark.parametrize("zone", ["", "Europe/Atlantis", "localtime", "UTC\0", "../etc/passwd", "a" * 300])
def test_an_organization_needs_an_existing_time_zone(operator: Client, zone: str) -> None:
    response = operator.post(page(Organization, "add"), {"name": "Acme", "timezone": zone, "is_active": "on"})

    assert response.status_code == 200
    assert not Organization.objects.exists()


def test_a_user_is_created(operator: Client) -> None:
    organization = make_organization()
    data = {"organization": organization.pk, "full_name": "Grace Hopper", "role": "manager", "is_active": "on"}

    operator.post(page(User, "add"), data)

    user = User.objects.get()
    assert (user.organization, user.full_name, user.role, user.timezone) == (
        organization,
        "Grace Hopper",
        "manager",
        "",
    )


def test_an_email_address_that_is_taken_is_refused(operator: Client) -> None:
    organization = make_organization()
    make_user(organization, email="ada@example.com")
    user = make_user(organization)

    response = operator.post(page_of(user), _user_data(user, email="ADA@example.com"))

    assert "Another user of the organization has this address." in response.content.decode()


def test_a_user_cannot_be_moved_to_another_organization(operator: Client) -> None:
    user, elsewhere = make_user(), make_organization()

    operator.post(page_of(user), _user_data(user, organization=elsewhere.pk, full_name="Ada King"))

    assert User.objects.get(full_name="Ada King").organization == user.organization


def test_saving_a_user_neither_revokes_nor_revives_tokens(operator: Client) -> None:
    user = make_user()
    token = make_token(make_command(user.organization), user)

    operator.post(page_of(user), _user_data(user, full_name="Ada King"))
    assert read_token(token) is not None

    confirm(operator, user, "revoke_tokens")
    operator.post(page_of(user), _user_data(user, full_name="Ada Byron"))
    assert read_token(token) is None


def test_saving_a_command_writes_only_the_changed_fields(operator: Client) -> None:
    command = make_command()

    with CaptureQueriesContext(connection) as queries:
        operator.post(page_of(command), command_data(command, name="renamed"))

    updates = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "organizations_command"')]
    assert [update.partition(" WHERE ")[0] for update in updates] == [
        """UPDATE "organizations_command" SET "name" = 'renamed'"""
    ]


def test_the_tokens_of_several_users_are_revoked_at_once(operator: Client) -> None:
    command = make_command()
    users = [make_user(command.organization) for _ in range(3)]
    given = [make_token(command, user) for user in users]

    act(operator, "revoke_tokens", *users[:2])

    assert [read_token(token) is not None for token in given] == [False, False, True]


def test_a_new_command_has_its_own_secrets(operator: Client) -> None:
    organization = make_organization()
    data = {"organization": organization.pk, "name": "hello", "callback_url": "https://example.com/", "is_active": "on"}

    operator.post(page(Command, "add"), data)

    command = Command.objects.get()
    assert command.callback_url == "https://example.com/"
    assert command.signing_secret.startswith("whsec_")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://example.com:22/",
        "http://user:password@example.com/",
        "//example.com/",
        "example.com",
        "http://①②⑦.⓪.⓪.①/",
        "https://example.com/" + "a" * 3000,
        "http://[/",
    ],
)
def test_a_callback_url_that_must_not_be_called_is_refused(operator: Client, url: str) -> None:
    command = make_command(callback_url="https://example.com/old")

    response = operator.post(page_of(command), command_data(command, callback_url=url))

    assert response.status_code == 200
    assert "callback_url" in response.context["adminform"].errors
    command.refresh_from_db()
    assert command.callback_url == "https://example.com/old"


def test_a_callback_url_is_stored_in_its_normal_form(operator: Client) -> None:
    command = make_command()

    operator.post(page_of(command), command_data(command, callback_url=" HTTPS://Example.COM:443/Hook "))

    command.refresh_from_db()
    assert command.callback_url == "https://example.com/Hook"


def test_a_callback_url_can_be_removed(operator: Client) -> None:
    command = make_command(callback_url="https://example.com/old")

    operator.post(page_of(command), command_data(command, callback_url=""))

    command.refresh_from_db()
    assert command.callback_url == ""


def test_the_name_of_another_command_of_the_organization_is_refused(operator: Client) -> None:
    organization = make_organization()
    make_command(organization, name="hello")
    command = make_command(organization)

    response = operator.post(page_of(command), command_data(command, name="hello"))

    assert response.status_code == 200
    assert response.context["adminform"].errors


def test_the_secrets_of_a_command_are_shown_once_and_the_history_says_so(operator: Client) -> None:
    command = make_command()

    location = confirm(operator, command, "show_secrets")["Location"]
    first, again = operator.get(location), operator.get(location)

    for secret in (command.signing_secret, command.signature):
        assert secret in first.content.decode()
        assert secret not in again.content.decode()
    assert "no-store" in first["Cache-Control"]
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Looked at the secrets. The page showed the secrets once."


def test_the_dialog_itself_contains_no_secret(operator: Client) -> None:
    command = make_command()

    question = operator.get(page_of(command, "show_secrets"), headers={"HX-Request": "true"})
    answer = operator.post(page_of(command, "show_secrets"), {"_form_submitted": "on"}, headers={"HX-Request": "true"})

    assert command.signing_secret not in question.content.decode() + answer.content.decode()
    assert answer["HX-Redirect"] == page_of(command)


def test_rotating_the_secret_makes_a_new_one_and_keeps_the_old_one_valid(operator: Client) -> None:
    command = make_command()

    response = operator.get(confirm(operator, command, "rotate_secret")["Location"])

    rotated = Command.objects.get()
    assert rotated.signing_secret != command.signing_secret
    assert rotated.previous_signing_secret == command.signing_secret
    assert rotated.previous_secret_expires_at is not None
    assert rotated.previous_secret_expires_at > clock.now()
    assert rotated.signing_secret in response.content.decode()
    assert command.signing_secret not in response.content.decode()


def test_rotating_the_static_signature_makes_a_new_one_and_keeps_the_old_one(operator: Client) -> None:
    command = make_command()

    response = operator.get(confirm(operator, command, "rotate_signature")["Location"])

    rotated = Command.objects.get()
    assert rotated.signature != command.signature
    assert rotated.previous_signature == command.signature
    assert rotated.signing_secret == command.signing_secret
    assert rotated.signature in response.content.decode()
    assert command.signature not in response.content.decode()


def test_rotating_the_secrets_of_several_commands_shows_none(operator: Client) -> None:
    commands = [make_command(), make_command()]

    html = act(operator, "rotate_secret", *commands).content.decode()

    for before in commands:
        after = Command.objects.get(pk=before.pk)
        assert after.signing_secret != before.signing_secret
        assert after.signing_secret not in html


def test_the_tokens_of_a_command_are_revoked(operator: Client) -> None:
    command = make_command()
    token = make_token(command, make_user(command.organization))

    confirm(operator, command, "revoke_tokens")

    assert read_token(token) is None
