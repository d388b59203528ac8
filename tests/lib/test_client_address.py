"""The client's address is taken from a header only if a trusted proxy sent it."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from django.test import Client

from commands_platform.lib.http.client_address import client_address, network_of
from outbound.addresses import parse_networks

CLIENT, PROXY, OTHER_PROXY = "203.0.113.7", "10.0.0.1", "10.0.0.2"


def _address(peer: str, forwarded: str | None = None) -> str:
    environ = {"REMOTE_ADDR": peer}
    return client_address(environ if forwarded is None else environ | {"HTTP_X_FORWARDED_FOR": forwarded})


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert _address(CLIENT, "198.51.100.1") == CLIENT


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}", CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}, {OTHER_PROXY}", CLIENT),
        (PROXY, f"{CLIENT}:4711", CLIENT),
        (PROXY, "[2001:db8::7]:4711", "2001:db8::7"),
        (PROXY, "2001:db8::7", "2001:db8::7"),
        (PROXY, f"::ffff:{CLIENT}", CLIENT),
        (f"::ffff:{PROXY}", CLIENT, CLIENT),
        ("fd00::1", CLIENT, CLIENT),
        # No client before the proxies, or text that is not an address.
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (PROXY, OTHER_PROXY, OTHER_PROXY),
        (PROXY, "unknown", PROXY),
        (PROXY, f"{CLIENT}, nonsense, {OTHER_PROXY}", OTHER_PROXY),
        # A client that connects to the server directly.
        (CLIENT, "198.51.100.1", CLIENT),
        ("", CLIENT, ""),
    ],
)
def test_the_address_is_the_last_one_that_is_not_a_trusted_proxy(
    settings: Any, peer: str, forwarded: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = parse_networks("10.0.0.0/8,fd00::/8")

    assert _address(peer, forwarded) == address


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
def test_the_request_log_names_the_client(settings: Any, trusted: str) -> None:
    settings.TRUSTED_PROXIES = parse_networks(trusted)

    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as log:
        Client().get("/v1/me/", headers={"x-forwarded-for": CLIENT})

    assert log[0]["ip"] == (CLIENT if trusted else "127.0.0.1")


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("nonsense") == network_of("")
