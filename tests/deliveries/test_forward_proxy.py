"""Callbacks that leave through a forward proxy: all of them do, and its answers are never taken for a receiver's."""

from __future__ import annotations

import logging
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from standardwebhooks import Webhook

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from deliveries.origins import OriginSettings
from deliveries.sender import Sender, SenderSettings
from deliveries.transfer import certificate_bundle
from outbound.address_guard import AddressGuard, origin_of
from outbound.addresses import parse_networks
from outbound.forward_proxy import ForwardProxy, parse_proxy
from tests.factories import make_command, make_delivery
from tests.production_files import ROOT
from tests.proxy import Proxy
from tests.receiver import CERTIFICATE, Answer, Receiver

uses_the_ledger = pytest.mark.django_db(transaction=True)

# The proxy itself is on loopback: the guard must let us reach it and nothing else there.
PUBLIC_ONLY = AddressGuard()
LOOPBACK = AddressGuard(allowed_networks=parse_networks("127.0.0.0/8"))

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecret"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3000\r\nContent-Length: 6\r\n\r\nsecret"
WANTS_CREDENTIALS = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 6\r\n\r\nsecret"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


@pytest.fixture
def trusted_certificate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system trusts the receivers and proxies of these tests that speak TLS."""
    certificate_bundle.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    yield CERTIFICATE
    certificate_bundle.cache_clear()


def sender_through(proxy: str, *, guard: AddressGuard = PUBLIC_ONLY, **changes: object) -> Sender:
    return Sender(
        SenderSettings(
            **{  # type: ignore[arg-type]
                "window": 20,
                "timeout": timedelta(seconds=5),
                "lease": timedelta(seconds=60),
                "retry_delays": (timedelta(seconds=5), timedelta(seconds=30)),
                "guard": guard,
                "proxy": parse_proxy(proxy),
                **changes,
            }
        )
    )


def make_due_again() -> None:
    Delivery.objects.pending().update(next_attempt_at=clock.now())


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("", None),
        ("http://proxy.internal:3128", ForwardProxy("http://proxy.internal:3128")),
        ("http://10.0.0.5:3128/", ForwardProxy("http://10.0.0.5:3128")),
        ("https://[fd12::5]:443", ForwardProxy("https://[fd12::5]:443")),
        ("http://ada:hush@proxy:1", ForwardProxy("http://proxy:1", b"ada", b"hush")),
        ("http://ada@proxy:65535", ForwardProxy("http://proxy:65535", b"ada")),
        ("http://ada:@proxy:03128", ForwardProxy("http://proxy:3128", b"ada")),
        ("http://a%40b:p%3a%2F%25%C3%A9@proxy:1", ForwardProxy("http://proxy:1", b"a@b", "p:/%é".encode())),
    ],
)
def test_a_proxy_is_read_from_its_url(text: str, proxy: ForwardProxy | None) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        *("proxy:3128", "proxy.internal", "http://proxy.internal", "https://proxy.internal", "http://:3128"),
        *("socks5h://proxy:1080", "ftp://proxy:21", "HTTP//proxy:1", "http://proxy:0", "http://proxy:65536"),
        *("http://proxy:http", "http://proxy:3128/path", "http://proxy:3128?a", "http://proxy:3128#a"),
        *("http://[::g]:3128", "http://[127.0.0.1]:3128", "http://::1:3128", "http://pröxy:3128", "http://pro xy:3128"),
        *("http://@proxy:1", "http://:hush@proxy:1", "http://ada:hu@sh@proxy:1", "http://ada:hu/sh@proxy:1"),
        *("http://ada:hu%sh@proxy:1", "http://ada:hu%0d%0ash@proxy:1", "http://ada:hu%00sh@proxy:1"),
        *("http://a%3Ada:hush@proxy:1", "http://ada:hush:hush@proxy:1", "http://ada:hüsh@proxy:1", "http://proxy:1\n"),
    ],
)
def test_what_is_no_proxys_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        parse_proxy(text)

    for part in ("hu", "sh", "ada"):
        assert part not in str(error.value)


def test_a_malformed_proxy_stops_the_process_with_a_line_without_its_password() -> None:
    variables = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": "of-this-test-only-0123456789-abcdefghijklmnopqrstuvwxyz",
        "CALLBACK_PROXY": "http://ada:hush-hush@proxy.internal",
    }

    run = subprocess.run(
        [sys.executable, "-c", "from commands_platform import settings"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("CALLBACK_PROXY: must be http://host:port")
    assert "hush" not in line


def test_a_proxy_that_is_printed_keeps_its_credentials_to_itself() -> None:
    printed = repr(parse_proxy("http://ada:hush@proxy.internal:3128"))

    assert "proxy.internal" in printed
    assert "ada" not in printed
    assert "hush" not in printed


@uses_the_ledger
def test_an_http_callback_goes_through_a_tunnel_to_a_name_that_the_proxy_resolves(
    proxy: Proxy, receiver: Receiver
) -> None:
    proxy.names["receiver.test"] = receiver.port
    command = make_command()
    delivery = make_delivery(command, url="http://receiver.test/callback?a=b", headers='{"X-Team":"blue"}')

    sender_through(proxy.url).drain()

    (asked,) = proxy.asked
    assert (asked.method, asked.target) == ("CONNECT", "receiver.test:80")
    assert asked.headers.keys() == {"host", "user-agent", "proxy-connection"}
    assert asked.headers["user-agent"].startswith("CommandsPlatform/")
    (request,) = receiver.requests
    assert request.path == "/callback?a=b"
    assert request.headers["host"] == "receiver.test"
    assert request.headers["x-team"] == "blue"
    assert request.webhook_id == str(delivery.pk)
    Webhook(command.signing_secret).verify(request.body, request.headers)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status) == (State.DELIVERED, 204)
    assert delivery.attempts[0]["address"] is None


@uses_the_ledger
def test_an_https_callback_is_encrypted_on_its_way_through_the_proxy(proxy: Proxy, trusted_certificate: Path) -> None:
    with Receiver(with_tls=True) as receiver:
        proxy.names["receiver.test"] = receiver.port
        delivery = make_delivery(url="https://receiver.test/callback")

        sender_through(proxy.url).drain()

    assert [asked.target for asked in proxy.asked] == ["receiver.test:443"]
    assert [request.webhook_id for request in receiver.requests] == [str(delivery.pk)]
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


@uses_the_ledger
def test_the_proxy_itself_may_speak_tls(receiver: Receiver, trusted_certificate: Path) -> None:
    with Proxy(with_tls=True) as proxy:
        proxy.names["receiver.test"] = receiver.port
        delivery = make_delivery(url="http://receiver.test/callback")

        sender_through(proxy.url).drain()

    assert [asked.target for asked in proxy.asked] == ["receiver.test:80"]
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


@uses_the_ledger
def test_a_proxy_that_nobody_vouches_for_is_told_nothing(receiver: Receiver) -> None:
    with Proxy(with_tls=True) as proxy:
        delivery = make_delivery(url="http://receiver.test/callback")

        sender_through(f"https://ada:hush@{proxy.address}").drain()

    assert proxy.asked == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts[0]["error"]) == (State.PENDING, "proxy")
    assert "no TLS connection that can be trusted" in delivery.attempts[0]["message"]


@uses_the_ledger
def test_a_tunnel_is_used_again_until_it_breaks(proxy: Proxy, receiver: Receiver) -> None:
    proxy.names["receiver.test"] = receiver.port
    sender = sender_through(proxy.url)

    def send() -> int:
        make_delivery(url="http://receiver.test/callback")
        sender.drain()
        return len(proxy.asked)

    tunnels = [send(), send()]
    proxy.drop_tunnels()
    tunnels.append(send())

    assert tunnels == [1, 1, 2]
    assert Delivery.objects.filter(state=State.DELIVERED, attempt_count=1).count() == 3


@uses_the_ledger
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY", "http_proxy", "all_proxy"])
def test_the_environment_leads_no_callback_around_the_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, receiver: Receiver, variable: str
) -> None:
    monkeypatch.setenv(variable, "*" if variable.lower() == "no_proxy" else "http://127.0.0.1:9/")
    make_delivery(url=receiver.url)

    sender_through(proxy.url, guard=LOOPBACK).drain()

    assert [asked.target for asked in proxy.asked] == [f"127.0.0.1:{receiver.port}"]
    assert len(receiver.requests) == 1


@uses_the_ledger
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
def test_what_may_not_be_called_is_not_asked_of_the_proxy(proxy: Proxy, url: str, cause: str) -> None:
    delivery = make_delivery(url=url)

    sender_through(proxy.url).drain()

    assert proxy.asked == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert cause in delivery.attempts[0]["message"]


@uses_the_ledger
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (FORBIDDEN, "refused to connect to the receiver (status 403)"),
        (WANTS_CREDENTIALS, "wants other credentials, or does not let callbacks go to this receiver (status 407)"),
        (UNAVAILABLE, "could not connect to the receiver (status 503)"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "(status 302)"),
        (b"no HTTP at all\r\n\r\n", "did not answer as a proxy does"),
        (b"", "did not answer as a proxy does"),
        (None, "did not connect to the receiver in time"),
    ],
    ids=["403", "407", "503", "302", "garbage", "closed", "silence"],
)
def test_what_the_proxy_answers_is_not_the_receivers_answer(
    proxy: Proxy, receiver: Receiver, answer: bytes | None, cause: str
) -> None:
    proxy.names["receiver.test"] = receiver.port
    proxy.answer_with(answer)
    delivery = make_delivery(url="http://receiver.test/callback")
    sender = sender_through(proxy.url, timeout=timedelta(seconds=1))
    before = clock.now()

    sender.drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.last_status) == (State.PENDING, None)
    assert (attempt["status"], attempt["error"], attempt["response"]) == (None, "proxy", "")
    assert attempt["message"].startswith("The proxy for callbacks ")
    assert cause in attempt["message"]
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at - before <= timedelta(seconds=8)

    make_due_again()
    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 2)
    assert [request.webhook_id for request in receiver.requests] == [str(delivery.pk)]


@uses_the_ledger
def test_without_the_proxy_nothing_leaves(receiver: Receiver) -> None:
    with Proxy() as gone:
        url = gone.url
    # A label may have 63 letters: this name is looked up nowhere.
    nameless = f"http://{'x' * 64}:3128"
    causes = {}
    for proxy in (url, nameless):
        delivery = make_delivery(url=receiver.url)
        sender_through(proxy, guard=LOOPBACK).drain()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts[0]["error"]) == (State.PENDING, "proxy")
        causes[proxy] = delivery.attempts[0]["message"]

    assert causes == {
        url: "The proxy for callbacks could not be reached.",
        nameless: "The proxy for callbacks has a name that could not be resolved.",
    }
    assert receiver.requests == []


@uses_the_ledger
@pytest.mark.parametrize("is_first", [True, False], ids=["a new tunnel", "a used tunnel"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(delay=3), "timeout"), (Answer(status=503), None), (Answer(status=407), None)],
    ids=["silence", "503", "407"],
)
def test_what_happens_beyond_the_tunnel_is_the_receivers(
    proxy: Proxy, receiver: Receiver, answer: Answer, error: str | None, is_first: bool
) -> None:
    proxy.names["receiver.test"] = receiver.port
    sender = sender_through(proxy.url, timeout=timedelta(seconds=1))
    if not is_first:
        make_delivery(url="http://receiver.test/callback")
        sender.drain()
    receiver.answer_with(answer)
    delivery = make_delivery(url="http://receiver.test/callback")

    sender.drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert attempt["error"] == error
    assert attempt["status"] == (None if error else answer.status)
    assert len(proxy.asked) == 1


@uses_the_ledger
def test_the_credentials_are_told_to_the_proxy_and_to_nobody_else(
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
    assert {asked.headers["proxy-authorization"] for asked in proxy.asked} == {expected}
    assert len(receiver.requests) == 2
    for request in receiver.requests:
        assert not {"proxy-authorization", "authorization"} & request.headers.keys()
    assert set(Delivery.objects.values_list("state", "reason", "last_status")) == {
        (State.FAILED, Reason.REJECTED, 407),
        (State.FAILED, Reason.REJECTED, 401),
    }
    kept = orjson.dumps([row.attempts for row in Delivery.objects.all()]).decode()
    assert "callback_not_delivered" in caplog.text
    for text in (kept, caplog.text, repr(sender._config)):
        for secret in ("hush", "ada", expected.split()[1]):
            assert secret not in text


@uses_the_ledger
@pytest.mark.parametrize(
    ("answer", "tried_at_first"),
    [(FORBIDDEN, 6), (WANTS_CREDENTIALS, 6), (b"", 6), (UNAVAILABLE, 2)],
    ids=["403", "407", "closed", "503"],
)
def test_a_receiver_pays_only_for_what_may_be_its_own_fault(
    proxy: Proxy, receiver: Receiver, answer: bytes, tried_at_first: int
) -> None:
    """Two failures open a receiver's breaker here, and what is due for it then waits without being tried."""
    proxy.names["receiver.test"] = receiver.port
    proxy.answer_with(*[answer] * tried_at_first)
    origins = OriginSettings(most=2, first=2, failures=2, first_pause=30)
    sender = sender_through(proxy.url, origins=origins)
    command = make_command()
    for _ in range(6):
        make_delivery(command, url="http://receiver.test/", origin=origin_of("http://receiver.test/"))

    sender.drain()
    assert Delivery.objects.filter(attempt_count=1, state=State.PENDING).count() == tried_at_first
    make_due_again()
    sender.drain()

    is_left_alone = tried_at_first < 6
    assert Delivery.objects.filter(state=State.DELIVERED).count() == (0 if is_left_alone else 6)
    assert len(receiver.requests) == (0 if is_left_alone else 6)
