from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from auth_tokens.callers import find_caller
from auth_tokens.models import ApiKey
from auth_tokens.scopes import COMMAND_SCOPES
from organizations.models import Command, Organization, User
from tests.factories import make_command, make_organization, make_user

pytestmark = pytest.mark.django_db


def bootstrap(*arguments: str) -> str:
    output = StringIO()
    call_command("bootstrap", *arguments, stdout=output)
    return output.getvalue()


def bootstrap_as_json(*arguments: str) -> Any:
    return json.loads(bootstrap(*arguments, "--json"))


def rows() -> list[list[tuple[Any, ...]]]:
    """Returns every row that the command may write."""
    return [list(model.objects.order_by("pk").values_list()) for model in (Organization, Command, User, ApiKey)]


def test_the_output_is_one_json_object_with_everything_that_was_made() -> None:
    made = bootstrap_as_json(
        *("--organization", "Acme", "--timezone", "Europe/Berlin"),
        *("--command", "hello", "--callback-url", "http://127.0.0.1:9000/callback", "--public"),
        *("--user", "Ada Lovelace", "--email", "ada@example.com"),
    )

    organization, command, user = Organization.objects.get(), Command.objects.get(), User.objects.get()
    assert made == {
        "organization": {"uuid": str(organization.uuid), "name": "Acme", "timezone": "Europe/Berlin"},
        "command": {
            "uuid": str(command.uuid),
            "name": "hello",
            "callback_url": "http://127.0.0.1:9000/callback",
            "is_public": True,
            "signing_secret": command.signing_secret,
            "signature": command.signature,
        },
        "user": {"uuid": str(user.uuid), "full_name": "Ada Lovelace", "email": "ada@example.com"},
        "api_key": made["api_key"],
        "scopes": list(COMMAND_SCOPES),
        "expires_at": None,
    }
    assert (command.organization, user.organization) == (organization, organization)


def test_the_options_are_saved() -> None:
    bootstrap(
        "--timezone", "Asia/Kolkata", "--callback-url", "http://127.0.0.1:9000/", "--public", "--email", "a@b.example"
    )

    assert Organization.objects.get().timezone == "Asia/Kolkata"
    assert Command.objects.get().callback_url == "http://127.0.0.1:9000/"
    assert Command.objects.get().is_public
    assert User.objects.get().email == "a@b.example"


def test_every_option_has_a_default() -> None:
    made = bootstrap_as_json()

    assert made["organization"]["name"] == "Default organization"
    assert made["organization"]["timezone"] == "UTC"
    assert made["command"]["name"] == "default-command"
    assert made["command"]["callback_url"] is None
    assert made["command"]["is_public"] is False
    assert (made["user"]["full_name"], made["user"]["email"]) == ("Default user", "")


def test_the_key_authenticates_as_the_command_with_every_scope_but_manage() -> None:
    made = bootstrap_as_json()

    found = find_caller(key=made["api_key"]).api_key

    assert found.command == Command.objects.get()
    assert found.organization == Organization.objects.get()
    assert found.scopes == list(COMMAND_SCOPES)


def test_the_key_belongs_to_the_user() -> None:
    made = bootstrap_as_json()

    owner = find_caller(key=made["api_key"]).api_key.owner
    assert owner is not None
    assert str(owner.uuid) == made["user"]["uuid"]


def test_the_key_has_the_given_scopes_and_expiry() -> None:
    made = bootstrap_as_json("--scopes", "MANAGE, STORAGE", "--expires-days", "7")

    row = ApiKey.objects.get()
    assert made["scopes"] == row.scopes == ["MANAGE", "STORAGE"]
    assert row.expires_at is not None
    assert row.expires_at - row.created_at == pytest.approx(timedelta(days=7), abs=timedelta(minutes=1))
    assert made["expires_at"].endswith("Z")


def test_the_text_output_shows_the_scopes_and_the_expiry() -> None:
    output = bootstrap("--scopes", "STORAGE")

    assert "Scopes         STORAGE" in output
    assert "Expires        never" in output


@pytest.mark.parametrize(
    "options",
    [("--scopes", "EVERYTHING"), ("--scopes", ""), ("--expires-days", "0"), ("--expires-days", "99999999")],
)
def test_an_invalid_scope_or_expiry_is_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=options[0]):
        bootstrap(*options)

    assert not ApiKey.objects.exists()


def test_a_second_run_finds_the_objects_by_name_and_makes_another_key() -> None:
    names = ("--organization", "Acme", "--command", "hello", "--user", "Ada Lovelace")
    details = (
        "--timezone",
        "Europe/Berlin",
        "--callback-url",
        "http://127.0.0.1/",
        "--public",
        "--email",
        "a@b.example",
    )
    first = bootstrap_as_json(*names, *details)

    second = bootstrap_as_json(*names)

    assert second["api_key"] != first["api_key"]
    assert find_caller(key=first["api_key"]).api_key != find_caller(key=second["api_key"]).api_key
    assert {**second, "api_key": None} == {**first, "api_key": None}
    assert [model.objects.count() for model in (Organization, Command, User, ApiKey)] == [1, 1, 1, 2]


def test_options_change_existing_objects() -> None:
    organization = make_organization(name="Acme", timezone="Europe/Berlin")
    command = make_command(organization, name="hello", callback_url="http://127.0.0.1/old")
    user = make_user(organization, full_name="Ada Lovelace")

    made = bootstrap_as_json(
        *("--organization", "Acme", "--timezone", "america/lima", "--command", "hello", "--public"),
        *("--callback-url", "http://127.0.0.1/new", "--user", "Ada Lovelace", "--email", "new@example.com"),
    )

    for row in (organization, command, user):
        row.refresh_from_db()
    assert made["organization"] == {"uuid": str(organization.uuid), "name": "Acme", "timezone": "America/Lima"}
    assert organization.timezone == "America/Lima"
    assert (command.callback_url, command.is_public) == ("http://127.0.0.1/new", True)
    assert user.email == "new@example.com"


def test_concurrent_changes_of_other_fields_are_not_overwritten() -> None:
    bootstrap("--email", "old@example.com")

    with CaptureQueriesContext(connection) as queries:
        bootstrap("--timezone", "Europe/Berlin", "--public", "--email", "new@example.com")

    updates = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert len(updates) == 3
    assert not [sql for sql in updates if "token_generation" in sql or "signing_secret" in sql or "is_active" in sql]


@pytest.mark.django_db(transaction=True)
def test_a_key_is_shown_only_after_it_has_been_committed() -> None:
    class Screen(StringIO):
        def write(self, text: str) -> int:
            assert not connection.in_atomic_block
            return super().write(text)

    screen = Screen()
    call_command("bootstrap", "--json", stdout=screen)

    assert find_caller(key=json.loads(screen.getvalue())["api_key"])


def test_names_are_looked_up_only_in_the_organization() -> None:
    other = make_organization()
    command, user = make_command(other, name="hello"), make_user(other, full_name="Ada", email="ada@example.com")

    made = bootstrap_as_json(
        "--organization", "Acme", "--command", "hello", "--user", "Ada", "--email", "ada@example.com"
    )

    assert made["command"]["uuid"] != str(command.uuid)
    assert made["user"]["uuid"] != str(user.uuid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--callback-url", "ftp://example.com/"], "scheme must be http or https"),
        (["--callback-url", "example.com"], "must start with http:// or https://"),
        (["--callback-url", "http://169.254.169.254/latest/"], "169.254.169.254"),
        (["--timezone", "Mars/Olympus"], "'Mars/Olympus' is not a time zone of the IANA database"),
        (["--timezone", "x" * 65], "is not a time zone of the IANA database"),
        (["--email", "nobody"], "user email: Enter a valid email address."),
        (["--email", f"{'x' * 60}@{'y.' * 100}example"], "user email: "),
        (["--email", "TAKEN@example.com"], "Another user of the organization has this address."),
        (["--organization", "x" * 201], "organization name: Ensure this value has at most 200 characters"),
        (["--command", "x" * 101], "command name: Ensure this value has at most 100 characters"),
        (["--user", "x" * 201], "user full_name: Ensure this value has at most 200 characters"),
        (["--organization", ""], "organization name: This field cannot be blank."),
        (["--command", ""], "command name: This field cannot be blank."),
        (["--user", ""], "user full_name: This field cannot be blank."),
        (["--command", "ab\u202ec"], "--command: Character 3 is U+202E RIGHT-TO-LEFT OVERRIDE"),
        (["--user", "a\nb"], "--user: Character 2 is U+000A LINE FEED"),
        *(
            ([option, f"http://127.0.0.1/{character}"], f"{option} must be UTF-8 text without NUL.")
            for option in ("--organization", "--timezone", "--command", "--callback-url", "--user", "--email")
            for character in ("\0", "\udcff")
        ),
    ],
)
def test_an_invalid_option_is_reported_and_nothing_is_written(arguments: list[str], message: str) -> None:
    make_user(make_organization(name="Acme"), full_name="Grace Hopper", email="taken@example.com")
    before = rows()

    with pytest.raises(CommandError) as raised:
        bootstrap("--organization", "Acme", "--timezone", "Europe/Berlin", "--public", *arguments)

    assert message in str(raised.value)
    assert rows() == before


@pytest.mark.parametrize("inactive", ["organization", "command", "user"])
def test_no_key_is_made_for_an_inactive_object(inactive: str) -> None:
    organization = make_organization(name="Acme", is_active=inactive != "organization")
    make_command(organization, name="hello", is_active=inactive != "command")
    make_user(organization, full_name="Ada", is_active=inactive != "user")

    with pytest.raises(CommandError, match=rf"The {inactive} '\w+' is not active"):
        bootstrap("--organization", "Acme", "--command", "hello", "--user", "Ada")

    assert not ApiKey.objects.exists()


def test_the_text_output_shows_the_key_once_and_everything_to_use_it_with() -> None:
    output = bootstrap("--organization", "Acme", "--command", "hello", "--callback-url", "http://127.0.0.1/callback")

    api_key, command = ApiKey.objects.get(), Command.objects.get()
    (line,) = (line for line in output.splitlines() if api_key.prefix in line)
    key = line.removeprefix("API key").split()[0]
    assert find_caller(key=key).api_key == api_key
    assert output.count(key) == 1
    assert "not shown again" in line
    for text in (str(command.uuid), command.signing_secret, command.signature, "http://127.0.0.1/callback"):
        assert text in output
