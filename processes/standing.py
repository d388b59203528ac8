"""Tells a process whether others may take it for dead, so that it does not do work that others may have taken over."""

from __future__ import annotations

import math
import time
from uuid import uuid4

# After a report, a process is sure for this long that nobody takes it for dead. The times of both are measured from the
# beginning of the report, by clocks that only need to run equally fast. So it must be less than `LOST_AFTER`.
SURE_SECONDS = 3.0


class Standing:
    """The id of a process, and since when others have known that it is alive. Times are those of `time.monotonic`.

    Until `expect_reports` is called, the process has no row, so nobody can take it for dead.
    """

    def __init__(self) -> None:
        self.id = uuid4()
        self._unbroken_since = -math.inf
        self._sure_until = math.inf

    def alive_since(self) -> float:
        """Returns since when others have known without a gap that the process is alive.

        Returns infinity if they may take it for dead now. Claims from before this time may belong to others.
        """
        return self._unbroken_since if time.monotonic() < self._sure_until else math.inf

    def expect_reports(self) -> None:
        """Makes the process unsure until its next report."""
        self._sure_until = -math.inf

    def note_report(self, *, began: float) -> None:
        """Notes that a report has been written which began at this time."""
        ended = time.monotonic()
        if ended >= self._sure_until:
            self._unbroken_since = ended
        # Set last, because another thread may be reading.
        self._sure_until = began + SURE_SECONDS


# The standing of this process, if it is a worker.
this_process = Standing()
