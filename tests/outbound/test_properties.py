"""No reading of any accepted URL leads to an address that callbacks must not reach."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import idna
from hypothesis import example, given
from hypothesis import strategies as st

from outbound.address_guard import origin_of
from outbound.errors import InvalidCallbackUrlError
from tests.outbound.guards import GUARD, is_accepted

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
def test_no_accepted_url_contains_a_refused_address(url: str) -> None:
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
    """Returns the addresses that a resolver (`inet_aton`) or a strict parser would take the host for."""
    readings = []
    with suppress(OSError):
        readings.append(socket.inet_ntoa(socket.inet_aton(host)))
    with suppress(ValueError):
        readings.append(str(ip_address(host)))
    return readings


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_that_python_calls_private_is_refused(address: Any) -> None:
    if not address.is_global or address.is_multicast:
        assert GUARD.refusal(str(address)) is not None


@given(st.text(st.characters(categories=["Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"]), min_size=1, max_size=10))
@example("b\u00fccher")
@example("\u05d0\u05d1")
@example("fa\u00df")
def test_an_accepted_unicode_name_equals_that_of_uts_46(label: str) -> None:
    try:
        ours = GUARD.check_url(f"https://{label}.example/")
        reference = idna.encode(f"{label}.example", uts46=True).decode()
    except (InvalidCallbackUrlError, idna.IDNAError):
        return

    assert ours == f"https://{reference}/"
