"""Senders for tests."""

from __future__ import annotations

import threading
from datetime import timedelta

from django.db import connection

from commands_platform.lib import clock
from deliveries.models import Delivery
from deliveries.sender import Sender
from deliveries.sender_settings import SenderSettings
from outbound.address_guard import AddressGuard
from outbound.addresses import parse_networks

LOOPBACK = AddressGuard(allowed_networks=parse_networks("127.0.0.0/8"))


def make_sender(**changes: object) -> Sender:
    return Sender(
        SenderSettings(
            **{  # type: ignore[arg-type]
                "window": 20,
                "timeout": timedelta(seconds=5),
                "lease": timedelta(seconds=60),
                "retry_delays": (timedelta(seconds=5), timedelta(seconds=30)),
                "guard": LOOPBACK,
                **changes,
            }
        )
    )


def due_again(delivery: Delivery) -> None:
    """Ends the wait before the next attempt, and any lease."""
    now = clock.now()
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=now)
    Delivery.objects.filter(pk=delivery.pk).exclude(lease=None).update(leased_until=now)


def run_until(sender: Sender, stop: threading.Event) -> None:
    """Drains until the event is set. For use in a thread."""
    try:
        sender.drain(should_stop=stop.is_set)
    finally:
        connection.close()


def run_and_close(sender: Sender) -> None:
    """Drains once, and closes the connection. For use in a thread."""
    try:
        sender.drain()
    finally:
        connection.close()
