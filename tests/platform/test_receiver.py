from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from commands_platform.local.directory import write_private
from commands_platform.local.ports import free_port
from commands_platform.management.commands.receiver import describe

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + "QUJDRA==" * 8


def make_callback(**changes: Any) -> bytes:
    content = {
        "intent": "hello",
        "exchange_token": "the-exchange-token",
        "payload": {"text": "Hello"},
        "scheduled_execution": {"uuid": "1", "name": "greeting", "due_at": "2026-02-25T12:00:00Z", "attempt": 2},
    }
    return json.dumps(content | changes).encode()


def sign(body: bytes) -> dict[str, str]:
    now = datetime.now(tz=UTC)
    return {
        "webhook-id": "delivery-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("delivery-1", now, body.decode()),
    }


def test_a_scheduled_callback_is_printed_in_one_line() -> None:
    body = make_callback()

    line = describe(body, sign(body), SECRET)

    assert line == (
        "Schedule greeting, due at 2026-02-25T12:00:00Z, attempt 2, signature valid, webhook-id delivery-1, "
        'payload {"text": "Hello"}'
    )


def test_an_event_is_printed_in_one_line() -> None:
    body = json.dumps({"event": "kudos.posted", "hook": {"id": 1}, "body": {"to": "Ada"}}).encode()

    assert describe(body, {}, None) == 'Event kudos.posted, signature not checked, body {"to": "Ada"}'


def test_a_changed_body_has_no_valid_signature() -> None:
    line = describe(make_callback(intent="another"), sign(make_callback()), SECRET)

    assert "signature INVALID (No matching signature found)" in line


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "1", "webhook-timestamp": "x", "webhook-signature": "v1,x"},
        {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"},
        {"webhook-id": "1", "webhook-timestamp": "99999999999", "webhook-signature": "nonsense"},
    ],
)
def test_missing_and_malformed_signature_headers_are_invalid(headers: dict[str, str]) -> None:
    assert "signature INVALID" in describe(make_callback(), headers, SECRET)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"\xff\xfe", b"3"])
def test_a_body_that_is_not_a_json_object_is_reported(body: bytes) -> None:
    assert describe(body, {}, None) == "A body that is not a JSON object, signature not checked"


@pytest.mark.parametrize(
    "body",
    [
        make_callback(),
        make_callback(scheduled_execution=None),
        make_callback(scheduled_execution=None, event="kudos.posted"),
    ],
)
def test_the_exchange_token_is_never_shown(body: bytes) -> None:
    assert "the-exchange-token" not in describe(body, {}, None)


def test_a_callback_cannot_send_control_characters_to_the_terminal() -> None:
    body = make_callback(
        scheduled_execution={"name": "red\x1b[31m\n", "due_at": "\r", "attempt": 1}, payload={"text": "\x1b[2J"}
    )

    assert describe(body, {"webhook-id": "\x07"}, None).isprintable()


def test_a_long_payload_is_shortened() -> None:
    assert len(describe(make_callback(payload={"text": "x" * 100_000}), {}, None)) < 3000


def test_the_receiver_answers_204_and_uses_the_secret_of_the_first_command(tmp_path: Path) -> None:
    write_private(tmp_path / "bootstrap.json", json.dumps({"command": {"signing_secret": SECRET}}))
    port = free_port()
    body = make_callback()
    with subprocess.Popen(
        [sys.executable, "manage.py", "receiver", "--port", str(port)],
        cwd=REPOSITORY,
        env=os.environ | {"COMMANDS_LOCAL_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        listening = process.stdout.readline()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/callback", data=body, headers=sign(body), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            status = response.status
        line = process.stdout.readline()
        process.terminate()

    assert f"http://127.0.0.1:{port}/" in listening
    assert status == 204
    assert "Schedule greeting" in line
    assert "signature valid" in line
