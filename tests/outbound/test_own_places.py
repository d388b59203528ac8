"""The server never calls itself, neither by its names nor by its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from deliveries.models import Reason, State
from outbound.address_guard import AddressGuard, parse_places
from outbound.addresses import is_of_this_machine, parse_networks
from outbound.forward_proxy import parse_proxy
from outbound.guard import address_guard, own_places
from tests.api import ApiClient
from tests.deliveries.senders import make_sender
from tests.factories import make_delivery
from tests.outbound.guards import is_accepted
from tests.receiver import Receiver

LOOPBACK = parse_networks("127.0.0.0/8, ::1/128")
OWN = AddressGuard(
    allowed_networks=LOOPBACK, own_places=parse_places("https://commands.example.com, http://web:8000"), own_port=8123
)


@pytest.fixture(autouse=True)
def _guard_is_rebuilt() -> Iterator[None]:
    address_guard.cache_clear()
    yield
    address_guard.cache_clear()


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://commands.example.com/v1/platform/scheduling/", False),
        ("https://COMMANDS.example.com:443/hook", False),
        ("https://commands.example.com:8443/hook", True),
        ("http://commands.example.com/hook", True),
        ("https://other.example.com/v1/", True),
        ("http://web:8000/%76%31/", False),
        ("http://127.0.0.1:8123/", False),
        ("http://127.0.0.2:8123/", False),
        ("http://[::1]:8123/", False),
        ("http://127.0.0.1:8124/hook", True),
        ("http://93.184.215.14:8123/", True),
    ],
)
def test_a_url_of_the_server_itself_is_refused(url: str, accepted: bool) -> None:
    assert is_accepted(OWN, url) is accepted


def test_a_connection_to_the_servers_own_port_is_refused_whatever_the_name() -> None:
    assert OWN.refusal("127.0.0.1", 8123) == "127.0.0.1 is this server itself"
    assert OWN.refusal("127.0.0.1", 8124) is None
    assert OWN.refusal("93.184.215.14", 8123) is None


def test_only_addresses_of_this_machine_count_as_its_own() -> None:
    assert is_of_this_machine("127.0.0.1")
    assert not is_of_this_machine("93.184.215.14")
    assert not is_of_this_machine("2606:4700::1111")
    assert not is_of_this_machine("example.com")


def test_the_places_of_the_server_follow_from_its_settings(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["commands.example.com", ".example.org", "*", "localhost"]
    settings.LISTENING_PORT = 8001
    settings.CALLBACK_PROXY = parse_proxy("http://ada:hush@proxy.internal:3128")
    settings.PUBLIC_URLS = frozenset()

    assert own_places() == {
        *(("commands.example.com", port) for port in (80, 443, 8001)),
        ("localhost", 8001),
        ("proxy.internal", 3128),
    }

    settings.PUBLIC_URLS = parse_places("https://elsewhere.example.com:8443/v1/")
    assert ("elsewhere.example.com", 8443) in own_places()
    assert ("commands.example.com", 443) not in own_places()


@pytest.mark.parametrize("text", ["commands.example.com", "ftp://x", "https://", "https://a:b:c"])
def test_an_invalid_public_url_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a URL like"):
        parse_places(text)


def test_the_api_refuses_a_callback_to_itself_and_says_what_to_do(alice: ApiClient, settings: Settings) -> None:
    settings.PUBLIC_URLS = parse_places("https://commands.example.com")
    body: dict[str, Any] = {"name": "loop", "callback_url": "https://commands.example.com/v1/platform/scheduling/"}

    response = alice.post("/v1/platform/scheduling/", body)

    assert response.status_code == 400
    assert "Use the URL of your own receiver" in response.json()["detail"]


@pytest.mark.django_db(transaction=True)
def test_a_delivery_to_a_name_of_the_server_itself_is_not_sent(receiver: Receiver) -> None:
    sender = make_sender(guard=AddressGuard(allowed_networks=LOOPBACK, own_port=receiver.port))
    delivery = make_delivery(url=f"http://localhost:{receiver.port}/callback")

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert "this server itself" in delivery.attempts[0].message
    assert receiver.requests == []


@pytest.mark.django_db(transaction=True)
def test_a_receiver_on_another_port_of_this_machine_is_called(receiver: Receiver) -> None:
    sender = make_sender(guard=AddressGuard(allowed_networks=LOOPBACK, own_port=receiver.port - 1))
    make_delivery(url=receiver.url)

    assert sender.drain() == 1
    assert len(receiver.requests) == 1
