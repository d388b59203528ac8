"""The networks that an API key may be used from."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from commands_platform.lib.errors import InvalidInputError

MAX_NETWORKS = 100


def check_networks(texts: Iterable[str]) -> list[str]:
    """Returns the networks in their usual spelling. A single address is a network of its own.

    Raises InvalidInputError.
    """
    networks = []
    for text in texts:
        try:
            networks.append(str(ip_network(text)))
        except ValueError as error:
            message = f"{text!r} is not a network in CIDR notation, like 203.0.113.0/24: {error}"
            raise InvalidInputError(errors={"allowed_networks": [message]}) from error
    if len(networks) > MAX_NETWORKS:
        raise InvalidInputError(errors={"allowed_networks": [f"There may be {MAX_NETWORKS} of these at most."]})
    return list(dict.fromkeys(networks))


def is_in_networks(address: str, networks: tuple[str, ...]) -> bool:
    """Returns whether the address is in one of the networks. A text that is no address is in none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in _parsed(networks))


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, networks))
