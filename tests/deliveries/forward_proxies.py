"""Senders that use a forward proxy, and error answers of such a proxy."""

from __future__ import annotations

from datetime import timedelta

from commands_platform.lib import clock
from deliveries.models import Delivery
from deliveries.sender import Sender
from deliveries.sender_settings import SenderSettings
from outbound.address_guard import AddressGuard
from outbound.addresses import parse_networks
from outbound.forward_proxy import parse_proxy

# The proxy itself is on loopback. The guard must let us reach it, and nothing else there.
PUBLIC_ONLY = AddressGuard()
LOOPBACK = AddressGuard(allowed_networks=parse_networks("127.0.0.0/8"))
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecret"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3000\r\nContent-Length: 6\r\n\r\nsecret"
WANTS_CREDENTIALS = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 6\r\n\r\nsecret"


def sender_through(proxy: str, *, guard: AddressGuard = PUBLIC_ONLY, **changes: object) -> Sender:
    return Sender(
        SenderSettings(
            **{  # type: ignore[arg-type]
                "window": 20,
                "timeout": timedelta(seconds=5),
                "lease": timedelta(seconds=60),
                "retry_delays": (timedelta(seconds=5), timedelta(seconds=30)),
                "guard": guard,
                "proxy": parse_proxy(proxy),
                **changes,
            }
        )
    )


def make_due_again() -> None:
    Delivery.objects.pending().update(next_attempt_at=clock.now())
