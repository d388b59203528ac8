"""A fault: the disk of PostgreSQL fills up, and is emptied again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg

from harness.chaos.agenda import Agenda
from harness.chaos.plan import MARGIN_SECONDS, TIMEOUT_SECONDS
from harness.chaos.platform import ChaosPlatform

# PostgreSQL's log of changes would otherwise fill the disk by itself.
SMALL_DISK_OPTIONS = {"max_wal_size": "64MB", "min_wal_size": "32MB"}

_FULL_SECONDS = 12.0
_MAX_RECOVERY_SECONDS = 60.0
_MEGABYTE = 1024 * 1024
_PAGE_BYTES = 4096


def disk_faults(agenda: Agenda) -> dict[str, Callable[[], None]]:
    return {"fill disk": partial(_fill_disk, agenda)}


def _fill_disk(agenda: Agenda) -> None:
    """Fills the disk and keeps it full for a while. Then it empties the disk, as an operator would."""
    platform, at = agenda.platform, time.time()
    filling = platform.servers.directory / "postgres" / "filling"
    with filling.open("wb", buffering=0) as file:
        while time.time() < at + _FULL_SECONDS:
            _fill(file.fileno())
            agenda.tend()
            time.sleep(0.05)
    filled = filling.stat().st_size
    filling.unlink()
    has_ended = _await_database(platform)
    agenda.disturb("fill disk", at - TIMEOUT_SECONDS - MARGIN_SECONDS, time.time() + MARGIN_SECONDS)
    agenda.tell(
        "fill disk", megabytes=filled // _MEGABYTE, took=round(time.time() - at, 1), had_to_be_started=has_ended
    )


def _fill(descriptor: int) -> None:
    for portion in (_MEGABYTE, _PAGE_BYTES):
        with suppress(OSError):
            while True:
                os.write(descriptor, bytes(portion))


def _await_database(platform: ChaosPlatform) -> bool:
    """Waits until PostgreSQL answers. Returns whether it had ended, so that it had to be started again."""
    postgres = platform.servers.postgres
    assert postgres is not None
    has_ended = False
    deadline = time.monotonic() + _MAX_RECOVERY_SECONDS
    while True:
        try:
            platform.query("SELECT 1")
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            if not postgres.is_alive:
                has_ended = True
                postgres.start()
            time.sleep(0.1)
        else:
            return has_ended
