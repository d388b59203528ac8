"""Dispatches due schedules, claims their deliveries, records them as delivered, and measures each of these steps.

It runs with the platform's settings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import django
import psutil

T = TypeVar("T")

# A sender makes its next claim while up to this number of batches are not recorded yet.
_MAX_UNRECORDED = 2


class _Step:
    """Adds up the costs of calls: CPU of this process, CPU of its PostgreSQL backend, and time."""

    def __init__(self, backend: psutil.Process) -> None:
        self._backend = backend
        self._spent = [0.0, 0.0, 0.0]

    def __call__(self, work: Callable[[], T]) -> T:
        before = self._read()
        result = work()
        spent = zip(self._spent, before, self._read(), strict=True)
        self._spent = [total + end - start for total, start, end in spent]
        return result

    def _read(self) -> tuple[float, float, float]:
        times = self._backend.cpu_times()
        return time.process_time(), times.user + times.system, time.perf_counter()

    def costs(self, count: int) -> dict[str, float]:
        names = ("client_us", "postgres_us", "wall_us")
        return {name: 1e6 * spent / count for name, spent in zip(names, self._spent, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    from django.db import connection

    from deliveries import queue
    from deliveries.attempts import Attempt, Timings
    from deliveries.models import State
    from deliveries.outcomes import Outcome, record
    from deliveries.queue import Claim
    from scheduling.dispatch import dispatch_due

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
    attempt = Attempt(
        number=1,
        started_at=datetime(2026, 2, 25, 12, 0, 0, 123456, UTC),
        status=204,
        timings=Timings(dns=12, connect=50, tls=0, first_byte=1200, total=1400),
        address="127.0.0.1",
    )
    steps = {name: _Step(backend) for name in ("dispatch", "claim", "record")}
    count = steps["dispatch"](dispatch_due)
    unrecorded: list[list[Claim]] = []
    while True:
        claims = steps["claim"](lambda: queue.claim(limit=options.batch, lease=timedelta(seconds=60)))
        if claims:
            unrecorded.append(claims)
        elif not unrecorded:
            break
        if len(unrecorded) > _MAX_UNRECORDED or not claims:
            outcomes = [
                Outcome(claim.id, claim.lease, State.DELIVERED, status=204, attempt=attempt)
                for claim in unrecorded.pop(0)
            ]
            steps["record"](partial(record, outcomes))
    print(json.dumps({name: step.costs(count) for name, step in steps.items()}))


if __name__ == "__main__":
    main()
