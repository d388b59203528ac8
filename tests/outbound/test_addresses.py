"""The guard decides which addresses a socket may be opened to."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import pycurl
import pytest

from outbound.address_guard import AddressGuard
from outbound.addresses import parse_networks
from tests.outbound.guards import EVERYTHING, GUARD, PUBLIC_IN_TABLE, TABLE, is_accepted


@pytest.mark.parametrize("entry", [e for e in TABLE["bad"] if e["stage"] == "connect"], ids=lambda entry: entry["url"])
def test_blocked_addresses_behind_the_names_of_the_table_are_refused_when_connecting(entry: dict[str, Any]) -> None:
    answers = set(entry["dns"])

    refused = {address for address in answers if GUARD.refusal(address) is not None}

    assert refused == answers - PUBLIC_IN_TABLE
    assert refused


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.215.14", "126.255.255.255", "128.0.0.0", "9.255.255.255", "11.0.0.0"),
        *("100.63.255.255", "100.128.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
        *(
            "192.167.255.255",
            "192.169.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
        ),
        *("168.63.129.15", "168.63.129.17", "203.0.112.255", "203.0.114.0"),
        *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "2001:200::1", "3ffe::1", "2003::1"),
        *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
    ],
)
def test_a_public_address_may_be_reached(address: str) -> None:
    assert GUARD.refusal(address) is None


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.0", "private"),
        ("192.168.255.255", "private"),
        ("100.64.0.0", "carrier"),
        ("100.127.255.255", "carrier"),
        ("192.0.0.1", "reserved"),
        ("192.0.2.255", "documentation"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.7", "documentation"),
        ("192.88.99.1", "6to4"),
        ("198.18.0.0", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("240.0.0.0", "reserved"),
        ("255.255.255.254", "reserved"),
        ("::1", "loopback"),
        ("fc00::", "private"),
        ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
        ("fec0::1", "site-local"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("2001:2::1", "benchmarking"),
        ("2001:10::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("100::1", "reserved"),
        ("5f00::1", "reserved"),
        ("400::1", "reserved"),
        ("1fff::1", "reserved"),
        ("4000::1", "reserved"),
        ("8000::1", "reserved"),
        ("fbff::1", "reserved"),
    ],
)
def test_an_address_that_is_not_public_is_refused_unless_its_network_is_allowed(address: str, what: str) -> None:
    reason = GUARD.refusal(address)

    assert reason is not None
    assert reason.startswith(f"{address} is ")
    assert what in reason
    assert EVERYTHING.refusal(address) is None


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fd00:c1::a9fe:a9fe", "metadata"),
        ("fd00:42::42", "metadata"),
        ("169.254.0.1", "link-local"),
        ("169.254.255.255", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("0.255.255.255", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.0", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("ffff::", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("64:ff9b:1::8.8.8.8", "local NAT64"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::169.254.169.254", "metadata"),
        ("::ffff:0:169.254.169.254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("2002:a9fe:a9fe::1", "metadata"),
        ("2001:0:a9fe:a9fe::", "metadata"),
        ("2001:0:808:808::5601:5601", "metadata"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("::2", "unspecified"),
    ],
)
def test_some_addresses_stay_refused_whatever_the_operator_allows(address: str, what: str) -> None:
    for guard in (GUARD, EVERYTHING):
        reason = guard.refusal(address)

        assert reason is not None
        assert what in reason


@pytest.mark.parametrize(
    "carrier",
    [
        *("::ffff:{hex}", "::{hex}", "::ffff:0:{hex}", "64:ff9b::{hex}", "2002:{hex}::", "2002:{hex}:1:2:3:4:5"),
        *("2001:0:{hex}::f7f7:f7f7", "2001:0:808:808::{flipped}"),
    ],
)
@pytest.mark.parametrize("carried", ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "240.0.0.1"])
def test_an_ipv6_address_is_judged_by_the_ipv4_address_it_contains(carrier: str, carried: str) -> None:
    number = int(ip_address(carried))
    address = carrier.format(hex=_groups(number), flipped=_groups(number ^ 0xFFFFFFFF))

    reason = GUARD.refusal(address)

    assert reason is not None
    assert f"carries {carried}, " in reason
    assert AddressGuard(allowed_networks=parse_networks("::/0")).refusal(address) is not None
    assert AddressGuard(allowed_networks=parse_networks(f"{carried}/32, 8.8.8.8")).refusal(address) is None


def _groups(number: int) -> str:
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


@pytest.mark.parametrize(
    "text", ["", "example.com", "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "[::1]", "/run/x.sock"]
)
def test_a_text_that_is_not_a_literal_address_is_refused(text: str) -> None:
    reason = EVERYTHING.refusal(text)

    assert reason is not None
    assert "is not an IP address" in reason


def test_an_allowed_network_allows_only_its_own_addresses() -> None:
    guard = AddressGuard(allowed_networks=parse_networks("127.0.0.0/8, 10.1.0.0/16, fd12::/16"))

    assert guard.check_url("http://127.0.0.1:8000/hook") == "http://127.0.0.1:8000/hook"
    assert guard.check_url("http://localhost:8000/hook") == "http://localhost:8000/hook"
    assert guard.check_url("http://[fd12::1]/") == "http://[fd12::1]/"
    assert guard.refusal("10.1.255.255") is None
    assert guard.refusal("10.2.0.0") is not None
    assert guard.refusal("::1") is not None
    assert guard.refusal("fd13::1") is not None
    assert not is_accepted(guard, "http://127.1/")


def test_a_guard_does_not_change_after_it_is_built() -> None:
    networks: list[IPv4Network | IPv6Network] = []
    guard = AddressGuard(allowed_networks=networks)

    networks.append(IPv4Network("127.0.0.0/8"))

    assert guard.refusal("127.0.0.1") is not None
    with pytest.raises(FrozenInstanceError):
        guard.allowed_ports = frozenset()  # type: ignore[misc]


def test_networks_are_parsed_from_a_list_of_cidrs() -> None:
    assert parse_networks(" 10.0.0.0/8,fd00::/8 , 127.0.0.1,") == (
        IPv4Network("10.0.0.0/8"),
        IPv6Network("fd00::/8"),
        IPv4Network("127.0.0.1/32"),
    )
    assert parse_networks("") == ()


@pytest.mark.parametrize("bad", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0.0/8/8", "010.0.0.0/8", "*"])
def test_a_bad_network_is_named_in_the_error(bad: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_networks(f"127.0.0.0/8,{bad}")

    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://0177.0.0.1/", "http://0x7f.1/", "http://2130706433/", "http://127.1/"),
        *("http://0/", "http://169.254.169.254/", "http://example.com@10.0.0.1/", "http://127.0.0.1./"),
    ],
)
def test_libcurl_asks_the_guard_about_every_spelling_of_a_blocked_address(url: str) -> None:
    reasons: list[str | None] = []

    def open_socket(_purpose: int, peer: Any) -> Any:
        reasons.append(GUARD.refusal(peer.addr[0]))
        return pycurl.SOCKET_BAD

    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.OPENSOCKETFUNCTION, open_socket)
    with pytest.raises(pycurl.error):
        curl.perform()

    assert reasons
    assert None not in reasons
