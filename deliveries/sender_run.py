"""The state of one run of the sender."""

from __future__ import annotations

from dataclasses import dataclass, field

from deliveries.intake import Intake
from deliveries.queue import Claim
from deliveries.recording import Recording


@dataclass(slots=True)
class SenderRun:
    """The state of one run of the loop."""

    intake: Intake
    recording: Recording
    # Since when others have known without a gap that this process is alive, or infinity if they may think it is dead.
    alive_since: float
    in_flight: int = 0
    large_bytes_in_flight: int = 0
    # Claims that were not sent in time. They are released together.
    left: list[Claim] = field(default_factory=list)
