"""The process's address guard, by the settings."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from outbound.address_guard import AddressGuard


@cache
def address_guard() -> AddressGuard:
    """What every callback URL is checked with when it is saved, and every address when it is connected to."""
    return AddressGuard(
        allowed_networks=settings.CALLBACK_ALLOWED_NETWORKS, allowed_ports=settings.CALLBACK_ALLOWED_PORTS
    )
