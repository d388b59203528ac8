"""With a forward proxy, all callbacks go through it."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from deliveries.models import Delivery, Reason, State
from deliveries.transfer import certificate_bundle
from tests.deliveries.forward_proxies import LOOPBACK, WANTS_CREDENTIALS, make_due_again, sender_through
from tests.factories import make_command, make_delivery
from tests.proxy import Proxy
from tests.receiver import CERTIFICATE, Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trusted_certificate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes the system trust the TLS receivers and proxies of these tests."""
    certificate_bundle.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    yield CERTIFICATE
    certificate_bundle.cache_clear()


def test_an_http_callback_goes_through_a_tunnel_to_a_name_that_the_proxy_resolves(
    proxy: Proxy, receiver: Receiver
) -> None:
    proxy.names["receiver.test"] = receiver.port
    command = make_command()
    delivery = make_delivery(command, url="http://receiver.test/callback?a=b", headers='{"X-Team":"blue"}')

    sender_through(proxy.url).drain()

    (tunnel,) = proxy.requests
    assert (tunnel.method, tunnel.target) == ("CONNECT", "receiver.test:80")
    assert tunnel.headers.keys() == {"host", "user-agent", "proxy-connection"}
    assert tunnel.headers["user-agent"].startswith("CommandsPlatform/")
    (request,) = receiver.requests
    assert request.path == "/callback?a=b"
    assert request.headers["host"] == "receiver.test"
    assert request.headers["x-team"] == "blue"
    assert request.webhook_id == str(delivery.pk)
    Webhook(command.signing_secret).verify(request.body, request.headers)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status) == (State.DELIVERED, 204)
    assert delivery.attempts[0].address is None


def test_an_https_callback_is_encrypted_on_its_way_through_the_proxy(proxy: Proxy, trusted_certificate: Path) -> None:
    with Receiver(with_tls=True) as receiver:
        proxy.names["receiver.test"] = receiver.port
        delivery = make_delivery(url="https://receiver.test/callback")

        sender_through(proxy.url).drain()

    assert [tunnel.target for tunnel in proxy.requests] == ["receiver.test:443"]
    assert [request.webhook_id for request in receiver.requests] == [str(delivery.pk)]
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_the_connection_to_the_proxy_may_use_tls(receiver: Receiver, trusted_certificate: Path) -> None:
    with Proxy(with_tls=True) as proxy:
        proxy.names["receiver.test"] = receiver.port
        delivery = make_delivery(url="http://receiver.test/callback")

        sender_through(proxy.url).drain()

    assert [tunnel.target for tunnel in proxy.requests] == ["receiver.test:80"]
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_nothing_is_sent_to_a_proxy_with_an_untrusted_certificate(receiver: Receiver) -> None:
    with Proxy(with_tls=True) as proxy:
        delivery = make_delivery(url="http://receiver.test/callback")

        sender_through(f"https://ada:hush@{proxy.address}").drain()

    assert proxy.requests == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts[0].error) == (State.PENDING, "proxy")
    assert "no TLS connection that can be trusted" in delivery.attempts[0].message


def test_a_tunnel_is_reused_until_it_breaks(proxy: Proxy, receiver: Receiver) -> None:
    proxy.names["receiver.test"] = receiver.port
    sender = sender_through(proxy.url)

    def send() -> int:
        make_delivery(url="http://receiver.test/callback")
        sender.drain()
        return len(proxy.requests)

    tunnels = [send(), send()]
    proxy.drop_tunnels()
    tunnels.append(send())

    assert tunnels == [1, 1, 2]
    assert Delivery.objects.filter(state=State.DELIVERED, attempt_count=1).count() == 3


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY", "http_proxy", "all_proxy"])
def test_environment_variables_cannot_bypass_the_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, receiver: Receiver, variable: str
) -> None:
    monkeypatch.setenv(variable, "*" if variable.lower() == "no_proxy" else "http://127.0.0.1:9/")
    make_delivery(url=receiver.url)

    sender_through(proxy.url, guard=LOOPBACK).drain()

    assert [tunnel.target for tunnel in proxy.requests] == [f"127.0.0.1:{receiver.port}"]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://127.0.0.1:8080/", "a loopback address"),
        ("http://[::ffff:10.0.0.1]/", "a private address"),
        ("https://169.254.169.254/", "a cloud metadata address"),
        ("http://localhost:8080/", "the loopback address"),
        ("http://receiver.test:25/", "port 25 may not be called"),
    ],
)
def test_a_blocked_address_is_not_requested_from_the_proxy(proxy: Proxy, url: str, cause: str) -> None:
    delivery = make_delivery(url=url)

    sender_through(proxy.url).drain()

    assert proxy.requests == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert cause in delivery.attempts[0].message


def test_the_credentials_are_sent_only_to_the_proxy(
    proxy: Proxy, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy.names["receiver.test"] = receiver.port
    proxy.answer_with(WANTS_CREDENTIALS, None)
    receiver.answer_with(
        Answer(407, headers=(("Proxy-Authenticate", "Basic realm=x"),)),
        Answer(401, headers=(("WWW-Authenticate", "Basic realm=x"),)),
    )
    sender = sender_through(f"http://ada%40acme:hush%3Ahush@{proxy.address}", timeout=timedelta(seconds=1))
    make_delivery(url="http://receiver.test/a")
    sender.drain()
    make_delivery(url="http://receiver.test/b")
    for _ in range(2):
        make_due_again()
        sender.drain()

    expected = f"Basic {b64encode(b'ada@acme:hush:hush').decode()}"
    assert {tunnel.headers["proxy-authorization"] for tunnel in proxy.requests} == {expected}
    assert len(receiver.requests) == 2
    for request in receiver.requests:
        assert not {"proxy-authorization", "authorization"} & request.headers.keys()
    assert set(Delivery.objects.values_list("state", "reason", "last_status")) == {
        (State.FAILED, Reason.REJECTED, 407),
        (State.FAILED, Reason.REJECTED, 401),
    }
    kept = str([row.attempts for row in Delivery.objects.all()])
    assert "callback_not_delivered" in caplog.text
    for text in (kept, caplog.text, repr(sender._config)):
        for secret in ("hush", "ada", expected.split()[1]):
            assert secret not in text
