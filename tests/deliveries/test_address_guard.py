from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import FrozenInstanceError
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import idna
import pycurl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outbound.address_guard import MAX_URL_LENGTH, AddressGuard, origin_of, parse_networks
from outbound.errors import InvalidCallbackUrlError

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "ssrf_urls.json").read_text(encoding="utf-8"))
PUBLIC_IN_TABLE = {"93.184.215.14"}

GUARD = AddressGuard()
EVERYTHING = AddressGuard(allowed_networks=parse_networks("0.0.0.0/0, ::/0"))


def urls_of(stage: str) -> list[str]:
    return [entry["url"] for entry in TABLE["bad"] if entry["stage"] == stage]


def is_accepted(guard: AddressGuard, url: str) -> bool:
    try:
        guard.check_url(url)
    except InvalidCallbackUrlError:
        return False
    return True


@pytest.mark.parametrize("url", urls_of("save"), ids=lambda url: ascii(url)[:60])
def test_a_url_of_the_shared_table_is_refused_when_saved(url: str) -> None:
    with pytest.raises(InvalidCallbackUrlError):
        GUARD.check_url(url)


@pytest.mark.parametrize("entry", [e for e in TABLE["bad"] if e["stage"] == "connect"], ids=lambda entry: entry["url"])
def test_a_bad_address_behind_a_name_of_the_shared_table_is_refused_when_connecting(entry: dict[str, Any]) -> None:
    answers = set(entry["dns"])

    refused = {address for address in answers if GUARD.refusal(address) is not None}

    assert refused == answers - PUBLIC_IN_TABLE
    assert refused


@pytest.mark.parametrize("url", urls_of("response"))
def test_a_url_whose_redirect_is_the_danger_is_itself_accepted(url: str) -> None:
    assert GUARD.check_url(url) == url


@pytest.mark.parametrize("url", TABLE["must_be_accepted"])
def test_a_harmless_url_of_the_shared_table_is_accepted(url: str) -> None:
    assert is_accepted(GUARD, url)


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("https://EXAMPLE.com", "https://example.com/"),
        ("HTTPS://example.com/Hook?A=b", "https://example.com/Hook?A=b"),
        ("https://example.com?a=b", "https://example.com/?a=b"),
        ("https://example.com/hook?", "https://example.com/hook?"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:0080/", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com/a%20b?c=%2F", "https://example.com/a%20b?c=%2F"),
        ("https://example.com/100%", "https://example.com/100%"),
        ("https://example.com/caf\u00e9?q=\u00e9", "https://example.com/caf%C3%A9?q=%C3%A9"),
        ('https://example.com/{a}|"b"', "https://example.com/%7Ba%7D%7C%22b%22"),
        ("https://example.com/@mallory:x", "https://example.com/@mallory:x"),
        ("https://example.com//evil.example", "https://example.com//evil.example"),
        ("https://B\u00dcCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://bu\u0308cher.example/", "https://xn--bcher-kva.example/"),
        ("https://\u4f8b\u3048.\u30c6\u30b9\u30c8/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://my_service.example/", "https://my_service.example/"),
        ("http://receiver:8000/hook", "http://receiver:8000/hook"),
        ("http://93.184.215.14:8080/", "http://93.184.215.14:8080/"),
        ("http://[2606:2800:0220:0001:0248:1893:25C8:1946]/", "http://[2606:2800:220:1:248:1893:25c8:1946]/"),
        ("http://1.2.3.4.example.com/", "http://1.2.3.4.example.com/"),
        ("http://0x7f.example/", "http://0x7f.example/"),
        ("https://" + "a" * 63 + ".example/", "https://" + "a" * 63 + ".example/"),
    ],
)
def test_an_accepted_url_gets_its_normal_spelling(given_url: str, normal: str) -> None:
    assert GUARD.check_url(given_url) == normal
    assert GUARD.check_url(normal) == normal


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "127.0.1", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "2130706433", "0177.1", "017700000001", "00", "0x"),
        *("127.0.0.01", "127.0.0.0x1", "127.0.0.1.1", "256.1.1.1", "4294967296", "1.2.3.4.5", "example.0x7f", "a.1"),
        *("127.0.0.1", "127.255.255.254", "0.1.2.3", "100.64.0.1", "224.0.0.1", "192.0.0.8", "192.88.99.1"),
        *("127.0.0.1.", "127.0.0.1..", "localhost.", "example.com.", ".example.com", "a..example.com", ".", ".."),
        *("localhost", "LOCALHOST", "api.localhost", "loca\u200blhost", "local\u00adhost"),
        *("127\u30020\u30020\u30021", "127\uff0e0\uff0e0\uff0e1", "127\uff610\uff610\uff611", "127\u20240.0.1"),
        *("\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1", "\u0661\u0662\u0667.0.0.1", "\u0967.\u0967.\u0967.\u0967"),
        *("\u2460", "\u24d4xample.com", "\uff45xample.com", "\u2102.example", "exam\u017fle.com", "\u33c2.example"),
        *("stra\u00dfe.example", "\u03c0\u03c2.example", "a\u200db.example", "a\ufe00b.example", "\u0301a.example"),
        *("\u2764.example", "xn--\u00fc.example", "a\u2044b.example", "a\u2215b.example", "exa\u2100mple.com"),
        *("127%2e0%2e0%2e1", "%31%32%37.0.0.1", "example.com%2f", "a%00b", "exa$mple", "a,b", "a;b", "<b>", "a|b"),
        *("-a.example", "a-.example", "*.example.com", "a" * 64 + ".com", ".".join(["a" * 60] * 5), "\u00fc" * 60),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:0:127.0.0.1]"),
        *("[::127.0.0.1]", "[::7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[64:ff9b::10.0.0.1]"),
        *("[2002:7f00:1::]", "[2002:a00:1::1]", "[2001:0:7f00:1::]", "[2001::f5ff:fffe]", "[fe80::1%25eth0]"),
        *(
            "[fe80::1%eth0]",
            "[::1%25]",
            "[::1%lo]",
            "[fd00:ec2::254]",
            "[v1.abc]",
            "[127.0.0.1]",
            "[]",
            "[",
            "]",
            "[:]",
        ),
        *("[::1]x", "x[::1]", "[[::1]]", "[::1]:80:80", "::1", "[::\uff11]", "[1:2:3]", "[::1.2.3]", "[::01.2.3.4]"),
        *(
            "example.com:80:80",
            "example.com:",
            "example.com:+80",
            "example.com:-1",
            "example.com:8_0",
            "example.com: 80",
        ),
        *(
            "example.com:0",
            "example.com:00",
            "example.com:65536",
            "example.com:99999999999",
            "example.com:\uff18\uff10",
        ),
        *("example.com:0x50", "example.com:80.", "example.com:1", "example.com:25", "example.com:11211", ":80", ""),
        *("a@example.com", "a:b@example.com", "@example.com", "a@b@example.com", "1.1.1.1 @127.0.0.1", "%40@127.0.0.1"),
        *("example.com\\@127.0.0.1", "127.0.0.1\\.example.com", "exam\tple.com", "exam\nple.com", "example.com\r"),
        *(
            "127.0.0.1\u00a0",
            "127.0.0.1\u3000",
            "example.com\ufeff",
            "\u202eexample.com",
            "\ud800.example",
            "\ue000.example",
        ),
    ],
    ids=ascii,
)
def test_a_disguised_or_malformed_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidCallbackUrlError):
        GUARD.check_url(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "http", "http:", "http:/", "http://", "http:///", "http:////example.com/", "//example.com/", "/hook"),
        *("example.com/hook", "http:example.com", "http:/example.com", "http:\\\\example.com\\", "http:/\\example.com"),
        *("://example.com", "1http://example.com", "ht\ttp://example.com/", "\x00http://example.com/", "gopher://x/"),
        *("dict://example.com:11211/", "data:text/plain,x", "https+unix://example.com/", "h\u0442tp://example.com/"),
        *("http://example.com/ ", "http://example.com/a b", "http://example.com/\n", "http://example.com/\x7f"),
        *("http://example.com/#", "http://example.com#", "http://example.com?a#b", "http://example.com/\\..\\x"),
        *(
            "http://example.com/\ud800",
            "http://example.com/\u2028",
            "http://example.com/\u200b",
            "http://a?@127.0.0.1#",
        ),
        *("http://?", "http://#", "http://?x@127.0.0.1/", "http://example.com/" + "a" * MAX_URL_LENGTH),
        "http://example.com/" + "\u00e9" * (MAX_URL_LENGTH // 2),
    ],
    ids=lambda url: ascii(url)[:60],
)
def test_what_is_no_plain_http_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidCallbackUrlError):
        GUARD.check_url(url)


def test_a_url_may_be_as_long_as_the_limit() -> None:
    url = "https://example.com/".ljust(MAX_URL_LENGTH, "a")

    assert GUARD.check_url(url) == url
    assert not is_accepted(GUARD, url + "a")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/", "127.0.0.1 is a loopback address"),
        ("http://[64:ff9b::a00:1]/", "carries 10.0.0.1, a private address"),
        ("http://0x7f.1/", "four decimal numbers"),
        ("ftp://example.com/", "http or https"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:0/", "between 1 and 65535"),
        ("http://example.com/#a", "fragment"),
        ("http://a@example.com/", "user name"),
        ("http://[fe80::1%25eth0]/", "zone id"),
        ("http://:80/", "no host"),
        ("http://example.com./", "dots"),
        ("http://example.com/" + "a" * MAX_URL_LENGTH, f"{MAX_URL_LENGTH} characters."),
        ("http://localhost/", "localhost"),
    ],
)
def test_the_error_says_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(InvalidCallbackUrlError) as caught:
        GUARD.check_url(url)

    assert said in caught.value.message
    assert caught.value.code == "params_validation_error"


def test_the_error_does_not_repeat_a_password() -> None:
    with pytest.raises(InvalidCallbackUrlError) as caught:
        GUARD.check_url("https://alice:hunter2@example.com/")

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("port", "accepted"),
    [
        *((80, True), (443, True), (1024, True), (8000, True), (8080, True), (8443, True), (65535, True)),
        *(
            (1, False),
            (22, False),
            (25, False),
            (81, False),
            (1023, False),
            (3306, False),
            (5432, False),
            (6379, False),
        ),
        *((2375, False), (9200, False), (10250, False), (11211, False), (27017, False)),
    ],
)
def test_by_default_web_ports_and_unclaimed_high_ports_are_allowed(port: int, accepted: bool) -> None:
    assert is_accepted(GUARD, f"https://example.com:{port}/") is accepted


@pytest.mark.parametrize("port", [32768, 40000, 50000, 60999])
def test_a_port_that_the_system_hands_out_is_never_taken_for_a_service(port: int) -> None:
    assert is_accepted(GUARD, f"http://example.com:{port}/")


def test_named_ports_replace_the_default_ones() -> None:
    guard = AddressGuard(allowed_ports=frozenset({443, 6379}))

    assert is_accepted(guard, "https://example.com/")
    assert is_accepted(guard, "https://example.com:6379/")
    assert not is_accepted(guard, "http://example.com/")
    assert not is_accepted(guard, "https://example.com:8443/")


def test_plain_http_can_be_ruled_out() -> None:
    guard = AddressGuard(allowed_schemes=frozenset({"https"}))

    assert is_accepted(guard, "https://example.com/")
    assert not is_accepted(guard, "http://example.com/")


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
def test_an_address_that_is_not_public_is_refused_until_its_network_is_allowed(address: str, what: str) -> None:
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
def test_an_ipv6_address_is_judged_by_the_ipv4_address_that_it_carries(carrier: str, carried: str) -> None:
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
def test_what_is_no_literal_address_is_refused(text: str) -> None:
    reason = EVERYTHING.refusal(text)

    assert reason is not None
    assert "is not an IP address" in reason


def test_an_allowed_network_opens_itself_and_nothing_else() -> None:
    guard = AddressGuard(allowed_networks=parse_networks("127.0.0.0/8, 10.1.0.0/16, fd12::/16"))

    assert guard.check_url("http://127.0.0.1:8000/hook") == "http://127.0.0.1:8000/hook"
    assert guard.check_url("http://localhost:8000/hook") == "http://localhost:8000/hook"
    assert guard.check_url("http://[fd12::1]/") == "http://[fd12::1]/"
    assert guard.refusal("10.1.255.255") is None
    assert guard.refusal("10.2.0.0") is not None
    assert guard.refusal("::1") is not None
    assert guard.refusal("fd13::1") is not None
    assert not is_accepted(guard, "http://127.1/")


def test_a_guard_does_not_change_once_built() -> None:
    networks: list[IPv4Network | IPv6Network] = []
    guard = AddressGuard(allowed_networks=networks)

    networks.append(IPv4Network("127.0.0.0/8"))

    assert guard.refusal("127.0.0.1") is not None
    with pytest.raises(FrozenInstanceError):
        guard.allowed_ports = frozenset()  # type: ignore[misc]


def test_networks_are_read_from_a_list_of_cidrs() -> None:
    assert parse_networks(" 10.0.0.0/8,fd00::/8 , 127.0.0.1,") == (
        IPv4Network("10.0.0.0/8"),
        IPv6Network("fd00::/8"),
        IPv4Network("127.0.0.1/32"),
    )
    assert parse_networks("") == ()


@pytest.mark.parametrize("bad", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0.0/8/8", "010.0.0.0/8", "*"])
def test_a_bad_network_is_named(bad: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_networks(f"127.0.0.0/8,{bad}")

    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.com/a?b", "https://example.com:443"),
        ("http://example.com/", "http://example.com:80"),
        ("https://example.com:8443/", "https://example.com:8443"),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]:80"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("text", ["", "example.com", "ftp://example.com/", "https://a:b:c/"])
def test_what_is_no_checked_url_has_no_origin(text: str) -> None:
    with pytest.raises(ValueError):
        origin_of(text)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://0177.0.0.1/", "http://0x7f.1/", "http://2130706433/", "http://127.1/"),
        *("http://0/", "http://169.254.169.254/", "http://example.com@10.0.0.1/", "http://127.0.0.1./"),
    ],
)
def test_libcurl_hands_every_spelling_of_a_bad_address_to_the_guard(url: str) -> None:
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


_octets = st.integers(0, 255).flatmap(lambda n: st.sampled_from([str(n), f"{n:#x}", f"0{n:o}", f"{n:03d}"]))
_ipv4ish = st.lists(_octets, min_size=1, max_size=5).map(".".join)
_numbers = st.integers(0, 2**33).flatmap(lambda n: st.sampled_from([str(n), f"{n:#x}", f"0{n:o}"]))
_ipv6 = st.one_of(
    st.ip_addresses(v=6),
    st.builds(
        lambda prefix, v4: ip_address(prefix | int(v4)),
        st.sampled_from([0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80]),
        st.ip_addresses(v=4),
    ),
).map(lambda address: f"[{address}]")
_odd_letters = st.sampled_from("127.0x[]:%@/\\?#\t\n \u3002\uff0e\u2460\uff11\u0661\u00e9\u00dfa-_")
_hosts = st.one_of(
    st.ip_addresses(v=4).map(str), _ipv4ish, _numbers, _ipv6, st.text(_odd_letters, max_size=12), st.text(max_size=8)
)
_urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTP://", "http:", "http:///", "http://a@", "http://a\\@"]),
    _hosts,
    st.sampled_from(["", ".", ":80", ":8080", ":0", ":", "%00", "\u3002"]),
    st.sampled_from(["", "/", "/a?b", "?@10.0.0.1", "#@10.0.0.1", "/\u00e9"]),
)


@given(_urls)
@example("http://127.0.0.1/")
@example("http://8.8.8.8/")
def test_no_accepted_url_leads_by_its_literal_to_a_refused_address(url: str) -> None:
    if not is_accepted(GUARD, url):
        return
    normal = GUARD.check_url(url)

    host = urlsplit(normal).hostname or ""
    assert normal.isascii()
    assert GUARD.check_url(normal) == normal
    assert origin_of(normal).startswith(normal.partition("://")[0] + "://")
    for literal in _readings_of(host):
        assert GUARD.refusal(literal) is None


def _readings_of(host: str) -> list[str]:
    """The addresses that a resolver (`inet_aton`) or a strict parser would take the host for."""
    readings = []
    with suppress(OSError):
        readings.append(socket.inet_ntoa(socket.inet_aton(host)))
    with suppress(ValueError):
        readings.append(str(ip_address(host)))
    return readings


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_that_python_calls_private_gets_through(address: Any) -> None:
    if not address.is_global or address.is_multicast:
        assert GUARD.refusal(str(address)) is not None


@given(st.text(st.characters(categories=["Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"]), min_size=1, max_size=10))
@example("b\u00fccher")
@example("\u05d0\u05d1")
@example("fa\u00df")
def test_an_accepted_unicode_name_is_the_one_that_uts_46_gives(label: str) -> None:
    try:
        ours = GUARD.check_url(f"https://{label}.example/")
        reference = idna.encode(f"{label}.example", uts46=True).decode()
    except (InvalidCallbackUrlError, idna.IDNAError):
        return

    assert ours == f"https://{reference}/"
