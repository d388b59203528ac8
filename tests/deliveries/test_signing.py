from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from deliveries.errors import InvalidSigningSecretError
from deliveries.signing import signature_header

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(100, 164))).decode()
STRANGERS_SECRET = "whsec_" + base64.b64encode(b"x" * 24).decode()


def signed_headers(
    secrets: list[str], body: bytes, *, message_id: str = "0199a0c1-aaaa-7bbb-8ccc-0123456789ab"
) -> dict[str, str]:
    timestamp = int(time.time())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature_header(secrets, message_id=message_id, timestamp=timestamp, body=body),
    }


def test_a_known_message_has_its_known_signature() -> None:
    # Made with standardwebhooks 1.1.0: Webhook(SECRET).sign("msg_1", datetime(2026, 2, 25, 12, tzinfo=UTC), '{"a":1}').
    signature = signature_header([SECRET], message_id="msg_1", timestamp=1772020800, body=b'{"a":1}')

    assert signature == "v1,BUADhYAQsduJYhA8r7bWo2rtQa2DCOKUsUolhi8MzCA="


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        json.dumps({"name": "Zo\u00eb \u2014 \u65e5\u672c\u8a9e \U0001f680"}, ensure_ascii=False).encode(),
        json.dumps({"name": "Zo\u00eb"}).encode(),
        b'{"text":"' + b"a" * 300_000 + b'"}',
        b'{"a": "dots.and.dots"}',
    ],
    ids=["empty object", "raw unicode", "escaped unicode", "large", "dots"],
)
def test_a_receiver_with_the_reference_library_accepts_the_signature(body: bytes) -> None:
    assert Webhook(SECRET).verify(body, signed_headers([SECRET], body)) == json.loads(body)


def test_a_receiver_with_another_secret_rejects_the_signature() -> None:
    headers = signed_headers([SECRET], b"{}")

    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGERS_SECRET).verify(b"{}", headers)


@pytest.mark.parametrize(
    "changed", [{"webhook-id": "another"}, {"webhook-timestamp": str(int(time.time()) - 30)}], ids=["id", "timestamp"]
)
def test_id_and_timestamp_are_signed_too(changed: dict[str, str]) -> None:
    headers = signed_headers([SECRET], b"{}") | changed

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b"{}", headers)


def test_a_changed_body_fails_verification() -> None:
    headers = signed_headers([SECRET], b'{"amount":1}')

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"amount":2}', headers)


@pytest.mark.parametrize("known", [SECRET, OLD_SECRET], ids=["new", "old"])
def test_during_rotation_both_secrets_verify(known: str) -> None:
    headers = signed_headers([SECRET, OLD_SECRET], b"{}")

    assert Webhook(known).verify(b"{}", headers) == {}
    assert headers["webhook-signature"].count("v1,") == 2


def test_signatures_keep_the_order_of_the_secrets() -> None:
    one, two = (signature_header([secret], message_id="m", timestamp=1, body=b"") for secret in (SECRET, OLD_SECRET))

    assert signature_header([SECRET, OLD_SECRET], message_id="m", timestamp=1, body=b"") == f"{one} {two}"


@given(key=st.binary(min_size=24, max_size=64), body=st.text(), timestamp=st.integers(0, 2**32))
def test_the_signature_equals_that_of_the_reference_library(key: bytes, body: str, timestamp: int) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    instant = datetime.fromtimestamp(timestamp, UTC)
    try:
        encoded = body.encode()
    except UnicodeEncodeError:
        return

    ours = signature_header([secret], message_id="m", timestamp=timestamp, body=encoded)

    assert ours == Webhook(secret).sign("m", instant, body)


def test_a_secret_without_padding_is_the_same_secret() -> None:
    padded, bare = (
        signature_header([secret], message_id="m", timestamp=1, body=b"") for secret in (SECRET, SECRET.rstrip("="))
    )

    assert SECRET.endswith("=")
    assert padded == bare


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        base64.b64encode(bytes(32)).decode(),
        "WHSEC_" + base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 33).decode(),
        "whsec_" + base64.b64encode(bytes(32)).decode() + "\n",
        "whsec_ " + base64.b64encode(bytes(32)).decode(),
        "whsec_\u00e9" + base64.b64encode(bytes(32)).decode(),
        "whsec_" + "A" * 33,
    ],
    ids=ascii,
)
def test_a_malformed_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidSigningSecretError) as caught:
        signature_header([SECRET, secret], message_id="m", timestamp=1, body=b"")

    assert caught.value.code == "invalid_signing_secret"
    assert base64.b64encode(bytes(12)).decode() not in caught.value.message


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(InvalidSigningSecretError):
        signature_header([], message_id="m", timestamp=1, body=b"")
