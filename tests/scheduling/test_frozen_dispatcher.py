"""If a dispatcher freezes in the middle of a batch, others take over, and it recovers when it wakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection, transaction

from commands_platform.lib import clock
from scheduling import dispatch, tasks
from scheduling.models import ScheduledExecution
from tests.factories import make_command, make_delivery, make_schedule
from tests.locks import wait_for_waiters
from tests.production_files import ROOT, processes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "dispatcher.log"


@pytest.fixture
def dispatcher(log: Path, floor_of_its_own: None) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a real dispatcher on the tests' database, where it also sets the floor of the queue.

    Its transactions may pause for 3 s instead of 30.
    """
    url = urlsplit(settings.DATABASE_URL)
    query = f"{url.query}&options={quote('-c idle_in_transaction_session_timeout=3s')}"
    environment = os.environ | {
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{connection.settings_dict['NAME']}", query=query)),
        "DATABASE_POOL_SIZE": "4",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    command = processes(ROOT)["dispatcher"]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S602 (the Procfile's own line)
            command, shell=True, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(20)


def make_due() -> ScheduledExecution:
    due = clock.now().replace(microsecond=0)
    command = make_command(callback_url="http://127.0.0.1:9/callback")
    return make_schedule(command, anchor_at=due - timedelta(hours=1), effective_from=due, next_run_at=due)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_in_transaction() -> bool:
    """Returns whether the dispatcher is idle in an open transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'dispatcher' AND state = 'idle in transaction'"
        )
        return bool(cursor.fetchone()[0])


def test_the_schedules_of_a_frozen_dispatcher_become_free_and_it_recovers(
    dispatcher: subprocess.Popen[bytes], log: Path
) -> None:
    schedule = make_due()
    inserted, release = threading.Event(), threading.Event()

    def hold_the_slot() -> None:
        """Makes the dispatcher's batch wait with its schedules locked, so that it can be frozen at that point."""
        try:
            with transaction.atomic():
                make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=schedule.next_run_at)
                inserted.set()
                release.wait(20)
                transaction.set_rollback(True)
        finally:
            connection.close()

    holder = threading.Thread(target=hold_the_slot)
    holder.start()
    inserted.wait(10)
    tasks.dispatch_due.apply_async()
    wait_for_waiters()
    dispatcher.send_signal(signal.SIGSTOP)
    release.set()
    holder.join()
    wait_until(is_in_transaction)

    assert dispatch.dispatch_due() == 0
    wait_until(lambda: not is_in_transaction())
    assert dispatch.dispatch_due() == 1

    dispatcher.send_signal(signal.SIGCONT)
    another = make_due()
    tasks.dispatch_due.apply_async()
    wait_until(lambda: another.slots().exists())
    assert schedule.slots().count() == another.slots().count() == 1
    logged = log.read_text()
    assert logged.count("database_was_unavailable") == 1
    assert "Traceback" not in logged
