"""Secrets are encrypted in the database and can be read only with the right keys."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from commands_platform import health
from commands_platform.lib import clock, encryption
from commands_platform.lib.database import stored_secrets
from commands_platform.lib.database.encrypted import encrypted_json
from commands_platform.lib.encryption import EncryptedText, SecretUnreadableError
from deliveries.models import Delivery, Reason, State
from deliveries.sender import process_sender
from organizations.models import Command
from organizations.services import rotate_signing_secret
from outbound.address_guard import origin_of
from scheduling.dispatch import dispatch_due
from scheduling.models import ScheduledExecution
from tests.admin import confirm, make_operator, page_of
from tests.api import ApiClient
from tests.factories import make_command, make_delivery, make_schedule
from tests.receiver import Receiver

URL = "https://example.com/callback"
HEADER = "Bearer receivers-own-secret-2718281828"
OLD = "an-old-key-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789"
NEW = "a-new-key-9876543210-zyxwvutsrqponmlkjihgfedcba-9876543210"


def _whole_database() -> str:
    """Returns everything that a dump would contain, as text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        rows = []
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608
            rows += [row for (row,) in cursor.fetchall()]
    return "\n".join(rows)


def _stored_headers(row: Delivery | ScheduledExecution) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT headers FROM "{row._meta.db_table}" WHERE id = %s', [row.pk])  # noqa: S608
        stored: str = cursor.fetchone()[0]
        return stored


def _due_schedule(command: Command) -> ScheduledExecution:
    headers, origin = {"Authorization": HEADER}, origin_of(command.callback_url)
    due_at = clock.now() - timedelta(seconds=1)
    return make_schedule(command, headers=headers, headers_origin=origin, next_run_at=due_at)


def _with_keys(settings: Any, *keys: str) -> None:
    settings.SECRETS_KEYS = list(keys)


@pytest.mark.django_db(transaction=True)
def test_a_dump_holds_no_secret_after_a_delivery_with_headers_and_a_rotation(receiver: Receiver) -> None:
    command = make_command(callback_url=receiver.url)
    first, signature = command.signing_secret, command.signature
    second = rotate_signing_secret(command=command).signing_secret
    _due_schedule(command)
    dispatch_due()
    process_sender().drain()

    assert receiver.requests[0].headers["authorization"] == HEADER
    assert Delivery.objects.get().state == State.DELIVERED
    dump = _whole_database()
    assert "Authorization" in dump
    for secret in (first, second, signature, HEADER):
        assert secret not in dump
        assert secret.removeprefix("whsec_") not in dump


@pytest.mark.django_db
def test_the_dispatcher_copies_headers_as_they_are_stored() -> None:
    schedule = _due_schedule(make_command(callback_url=URL))

    dispatch_due()

    assert _stored_headers(Delivery.objects.get()) == _stored_headers(schedule)


@pytest.mark.django_db
def test_the_api_shows_only_the_names_of_headers(alice: ApiClient) -> None:
    body = {"name": "report", "cron": "0 9 * * *", "headers": {"X-Team": HEADER}, "callback_url": URL}
    uuid = alice.post("/v1/platform/scheduling/", body).json()["uuid"]

    response = alice.get(f"/v1/platform/scheduling/{uuid}/?expand=headers")

    assert response.json()["headers"] == ["X-Team"]
    assert HEADER not in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_delivery_without_its_secrets_key_is_unsendable_and_the_sender_continues(
    settings: Any, receiver: Receiver
) -> None:
    _with_keys(settings, OLD)
    locked = make_delivery(make_command(), url=receiver.url)
    old_headers = encrypted_json({"Authorization": HEADER})
    _with_keys(settings, NEW)
    fine = make_delivery(make_command(), url=receiver.url)
    with_headers = make_delivery(fine.command, url=receiver.url)
    Delivery.objects.filter(pk=with_headers.pk).update(headers=old_headers)

    process_sender().drain()

    for row in (locked, with_headers):
        row.refresh_from_db()
        assert (row.state, row.reason) == (State.FAILED, Reason.UNSENDABLE)
        assert "SECRETS_KEYS" in row.attempts[0].message
    fine.refresh_from_db()
    assert fine.state == State.DELIVERED


@pytest.mark.django_db
def test_readyz_says_that_a_key_is_missing(settings: Any) -> None:
    _with_keys(settings, OLD)
    make_command()
    _with_keys(settings, NEW)

    health._recent.clear()
    response = Client().get("/readyz")

    assert (response.status_code, response.json()["checks"]["secrets"]["status"]) == (503, "down")


@pytest.mark.django_db
def test_the_admin_says_that_a_key_is_missing_and_shows_no_secret(settings: Any) -> None:
    _with_keys(settings, OLD)
    command = make_command()
    _with_keys(settings, NEW)
    operator = make_operator(is_superuser=True)

    shown = operator.get(confirm(operator, command, "show_secrets")["Location"]).content.decode()

    assert operator.get(page_of(command)).status_code == 200
    assert "A stored secret cannot be decrypted." in shown
    assert "enc1." not in shown


@pytest.mark.django_db
def test_a_secret_whose_key_is_lost_can_be_rotated(settings: Any) -> None:
    _with_keys(settings, OLD)
    command = make_command()
    _with_keys(settings, NEW)

    rotate_signing_secret(command=command)

    command = Command.objects.get(pk=command.pk)
    assert command.signing_secret.startswith("whsec_")
    assert command.previous_signing_secret == ""
    assert not isinstance(command.signature, EncryptedText)


@pytest.mark.django_db
def test_a_value_that_cannot_be_decrypted_is_saved_as_it_was(settings: Any) -> None:
    _with_keys(settings, OLD)
    schedule = make_schedule(headers={"Authorization": HEADER})
    stored = _stored_headers(schedule)
    _with_keys(settings, NEW)

    unreadable = ScheduledExecution.objects.get(pk=schedule.pk)
    unreadable.save(update_fields=["headers"])

    assert _stored_headers(schedule) == stored


@pytest.mark.django_db
def test_secrets_move_to_the_first_key_in_portions(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_secrets, "_REENCRYPTED_AT_ONCE", 2)
    _with_keys(settings, OLD)
    commands = [make_command() for _ in range(5)]
    rotate_signing_secret(command=commands[0])
    schedule = make_schedule(commands[0], headers={"Authorization": HEADER})
    delivery = make_delivery(commands[0], headers=json.dumps({"Authorization": HEADER}))
    plain = {command.pk: Command.objects.get(pk=command.pk).signing_secret for command in commands}
    _with_keys(settings, NEW, OLD)

    out = StringIO()
    call_command("reencrypt_secrets", stdout=out)

    assert "organizations_command: 5 rows read, 5 reencrypted" in out.getvalue()
    _with_keys(settings, NEW)
    assert {command.pk: command.signing_secret for command in Command.objects.all()} == plain
    assert ScheduledExecution.objects.get(pk=schedule.pk).headers == {"Authorization": HEADER}
    stored = json.loads(_stored_headers(Delivery.objects.get(pk=delivery.pk)))
    assert encryption.decrypt_values(stored) == {"Authorization": HEADER}


@pytest.mark.django_db
def test_moving_secrets_twice_changes_nothing_the_second_time(settings: Any) -> None:
    _with_keys(settings, OLD)
    make_command()
    _with_keys(settings, NEW, OLD)
    call_command("reencrypt_secrets", stdout=StringIO())
    before = _whole_database()

    out = StringIO()
    call_command("reencrypt_secrets", stdout=out)

    assert "1 rows read, 0 reencrypted" in out.getvalue()
    assert _whole_database() == before


@pytest.mark.django_db
def test_moving_secrets_without_their_key_names_the_rows_and_leaves_them(settings: Any) -> None:
    _with_keys(settings, OLD)
    command = make_command()
    _with_keys(settings, NEW)

    with pytest.raises(CommandError, match=f"organizations_command {command.pk}"):
        call_command("reencrypt_secrets", stdout=StringIO())

    _with_keys(settings, OLD)
    assert Command.objects.get(pk=command.pk).signing_secret == command.signing_secret


def test_the_same_text_is_never_encrypted_the_same_way_twice() -> None:
    assert encryption.encrypt("secret") != encryption.encrypt("secret")


@pytest.mark.parametrize("stored", ["", "secret", "enc1", "enc1.", "enc1.00000000.AAAA", "enc1.é.é", "enc2.a.b"])
def test_text_that_is_not_encrypted_is_refused(stored: str) -> None:
    with pytest.raises(SecretUnreadableError):
        encryption.decrypt(stored)


def test_an_altered_text_is_refused() -> None:
    stored = encryption.encrypt("secret")
    head, content = stored[:16], stored[16:]

    with pytest.raises(SecretUnreadableError):
        encryption.decrypt(head + content[::-1])
