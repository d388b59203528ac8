"""Knows which addresses callbacks may not reach, and which IPv6 addresses carry IPv4 addresses."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple


class _Range(NamedTuple):
    first: int
    last: int
    what: str


def _ranges(*table: tuple[str, str]) -> tuple[_Range, ...]:
    networks = ((ip_network(text), what) for text, what in table)
    return tuple(_Range(int(network[0]), int(network[-1]), what) for network, what in networks)


# An operator cannot allow these.
_ALWAYS_REFUSED = {
    4: _ranges(
        ("169.254.169.254/32", "a cloud metadata address"),
        ("169.254.170.2/32", "a cloud metadata address"),
        ("100.100.100.200/32", "a cloud metadata address"),  # Alibaba
        ("168.63.129.16/32", "a cloud metadata address"),  # Azure's wire server, which looks public
        ("192.0.0.192/32", "a cloud metadata address"),  # Oracle
        ("169.254.0.0/16", "a link-local address"),
        ("0.0.0.0/8", "an unspecified address"),  # Linux connects 0.0.0.0 to loopback
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
    ),
    6: _ranges(
        ("fd00:ec2::/32", "a cloud metadata address"),  # AWS
        ("fd20:ce::254/128", "a cloud metadata address"),  # Google
        ("fd00:c1::a9fe:a9fe/128", "a cloud metadata address"),  # Oracle
        ("fd00:42::42/128", "a cloud metadata address"),  # Scaleway
        ("fe80::/10", "a link-local address"),
        ("::/128", "an unspecified address"),
        ("ff00::/8", "a multicast address"),
        # RFC 8215 leaves the prefix length to the site, so the position of the IPv4 address is unknown.
        ("64:ff9b:1::/48", "a local NAT64 address"),
    ),
}

_REFUSED_UNLESS_ALLOWED = {
    4: _ranges(
        ("127.0.0.0/8", "a loopback address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("100.64.0.0/10", "a carrier's shared address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("240.0.0.0/4", "a reserved address"),
    ),
    6: _ranges(
        ("::1/128", "a loopback address"),
        ("fc00::/7", "a private address"),
        ("fec0::/10", "a site-local address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("2001:2::/48", "a benchmarking address"),
        ("2001::/23", "a reserved address"),
        # Everything else outside 2000::/3 is not global unicast: discard-only 100::/64, SRv6's 5f00::/16, and the
        # ranges that have not been assigned.
        ("::/3", "a reserved address"),
        ("4000::/2", "a reserved address"),
        ("8000::/1", "a reserved address"),
    ),
}


class _Embedding(NamedTuple):
    """Where IPv6 addresses of a range carry an IPv4 address: `shift` bits from the right, XORed with `flip`."""

    range: _Range
    shift: int
    flip: int = 0


def _embedding(network: str, shift: int, flip: int = 0) -> _Embedding:
    return _Embedding(_ranges((network, "carries"))[0], shift, flip)


_EMBEDDINGS = (
    _embedding("::ffff:0:0/96", 0),  # IPv4-mapped
    _embedding("::/96", 0),  # IPv4-compatible, RFC 4291, except `::` and `::1`
    _embedding("::ffff:0:0:0/96", 0),  # IPv4-translated, RFC 2765
    _embedding("64:ff9b::/96", 0),  # NAT64, RFC 6052
    _embedding("2002::/16", 80),  # 6to4, RFC 3056
    _embedding("2001::/32", 64),  # Teredo's server, RFC 4380
    _embedding("2001::/32", 0, 0xFFFFFFFF),  # Teredo's client
)


def refused_as(address: IPv4Address | IPv6Address, *, allowed: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """Returns the kind of an address that must not be reached, or None if it may be reached.

    It does not look at the IPv4 addresses that an address carries: see `embedded_in`.
    """
    number = int(address)
    for first, last, what in _ALWAYS_REFUSED[address.version]:
        if first <= number <= last:
            return what
    for first, last, what in _REFUSED_UNLESS_ALLOWED[address.version]:
        if first <= number <= last:
            return None if any(address in network for network in allowed) else what
    return None


def embedded_in(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Returns the IPv4 addresses that an IPv6 address carries."""
    number = int(address)
    if address.version == 4 or number <= 1:
        return []
    return [
        IPv4Address((number >> embedding.shift & 0xFFFFFFFF) ^ embedding.flip)
        for embedding in _EMBEDDINGS
        if embedding.range.first <= number <= embedding.range.last
    ]


def is_of_this_machine(address: str) -> bool:
    """Returns whether the literal address belongs to this machine. Only such an address can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip_address(address)), 0))
    except (OSError, ValueError):
        return False
    return True


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Returns the networks in a comma-separated list of CIDRs. Raises ValueError, which names a bad one."""
    networks = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ip_network(item))
        except ValueError as error:
            raise ValueError(f"{item!r} is not a network in CIDR notation: {error}") from error
    return tuple(networks)
