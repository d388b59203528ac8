"""Finds the address of a request's client, with or without proxies in between."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings

# Somebody who has one IPv6 address usually has its whole /64 network.
_IPV6_PREFIX = 64

Address = IPv4Address | IPv6Address


def client_address(environ: Mapping[str, Any]) -> str:
    """Returns the client's address from a WSGI environ or a request's META. It is empty if the server knows none.

    Only the entries of `X-Forwarded-For` that TRUSTED_PROXIES wrote count. They are read from the end, past the
    addresses of the proxies themselves. Clients can put anything before them.
    """
    peer = str(environ.get("REMOTE_ADDR", ""))
    if not settings.TRUSTED_PROXIES:
        return peer
    client = _parsed(peer)
    for text in reversed(str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")):
        if client is None or not _is_trusted(client):
            break
        before = _parsed(text)
        if before is None:
            break
        client = before
    return str(client) if client is not None else peer


def network_of(address: str) -> str:
    """Returns the address that limits count by: the address itself, or for IPv6 its network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((parsed, _IPV6_PREFIX), strict=False))


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _parsed(text: str) -> Address | None:
    """Returns the address in one entry, which may have a port: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
