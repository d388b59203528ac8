"""Makes the process's address guard from the settings."""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit

from django.conf import settings

from outbound.address_guard import AddressGuard

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@cache
def address_guard() -> AddressGuard:
    """Returns the guard that checks every callback URL when it is saved, and every address before we connect."""
    return AddressGuard(
        allowed_networks=settings.CALLBACK_ALLOWED_NETWORKS,
        allowed_ports=settings.CALLBACK_ALLOWED_PORTS,
        own_places=own_places(),
        own_port=settings.LISTENING_PORT,
    )


def own_places() -> frozenset[tuple[str, int]]:
    """Returns the hosts and ports of the server itself and of its forward proxy.

    The server's are those of PUBLIC_URLS. If there are none, they are ports 80 and 443 of each name in ALLOWED_HOSTS,
    without patterns, because a receiver may share a domain, and without loopback, whose other ports are other programs.
    The port that it listens on counts for every name in ALLOWED_HOSTS.
    """
    places = set(settings.PUBLIC_URLS)
    names = {name.lower() for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))}
    if not places:
        places = {(name, port) for name in names - _LOOPBACK_NAMES for port in (80, 443)}
    places |= {(name, settings.LISTENING_PORT) for name in names}
    if settings.CALLBACK_PROXY is not None:
        proxy = urlsplit(settings.CALLBACK_PROXY.url)
        places.add((proxy.netloc.rpartition(":")[0].lower(), proxy.port or 0))
    return frozenset(places)
