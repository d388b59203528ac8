"""How a sender works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from deliveries.lanes import LaneSettings
from outbound.address_guard import AddressGuard
from outbound.forward_proxy import ForwardProxy
from outbound.resolver import LookUp, look_up_addresses
from processes.standing import Standing


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How a sender works. `window` is the largest number of transfers in flight.

    A sender that has just been started does other work for `suspects_after`, before it sends deliveries that may have
    killed their senders. Otherwise they might kill each sender before it has sent anything else.
    """

    window: int
    timeout: timedelta
    lease: timedelta
    retry_delays: Sequence[timedelta]
    guard: AddressGuard
    proxy: ForwardProxy | None = None
    look_up: LookUp = look_up_addresses
    lanes: LaneSettings = field(default_factory=LaneSettings)
    standing: Standing = field(default_factory=Standing)
    suspects_after: timedelta = timedelta(0)
    logs_callbacks: bool = False
