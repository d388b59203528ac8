"""Measures claims of what is due just now, and takes them back. It runs with the platform's settings."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from statistics import median

import django

_CLAIMS = 100


def main() -> None:
    django.setup()
    from django.db import transaction

    from deliveries import queue

    seconds = []
    for _ in range(_CLAIMS + 10):
        with transaction.atomic():
            started = time.perf_counter()
            queue.claim(limit=10, lease=timedelta(seconds=60))
            seconds.append(time.perf_counter() - started)
            transaction.set_rollback(True)
        # It must not hinder the deliverers.
        time.sleep(0.01)
    print(json.dumps({"claim_ms_median": round(median(seconds[10:]) * 1000, 3)}))


if __name__ == "__main__":
    main()
