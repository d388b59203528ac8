"""Old rows leave the ledger, and some stay longer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from commands_platform.lib import clock
from commands_platform.lib.database.identifiers import first_ledger_id_at
from deliveries.models import Delivery, Reason, State
from deliveries.retention import Sweep, remove_surplus
from organizations.models import Command
from tests.factories import make_command, make_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def command() -> Command:
    return make_command()


def make_finished(command: Command, *, days_ago: float, state: State = State.DELIVERED, **values: Any) -> Delivery:
    then = clock.now() - timedelta(days=days_ago)
    reason = "" if state == State.DELIVERED else Reason.MISSED if state == State.SKIPPED else Reason.REJECTED
    id_ = UUID(int=first_ledger_id_at(then).int | (uuid4().int & (2**62 - 1)))
    finished = {"state": state, "reason": reason, "finished_at": then, "next_attempt_at": None}
    return make_delivery(command, id=id_, due_at=then, **finished, **values)


def sweep() -> Sweep:
    return Sweep(keep_finished=timedelta(days=30), keep_failed=timedelta(days=90))


def test_old_rows_are_removed_and_failures_stay_longer(command: Command) -> None:
    kept = [
        make_finished(command, days_ago=29),
        make_finished(command, days_ago=60, state=State.FAILED),
        make_finished(command, days_ago=29, state=State.SKIPPED),
    ]
    for days_ago, state in ((31, State.DELIVERED), (31, State.SKIPPED), (91, State.FAILED)):
        make_finished(command, days_ago=days_ago, state=state)

    assert sweep().remove_aged(limit=100) == 3

    assert set(Delivery.objects.all()) == set(kept)


def test_unsent_deliveries_are_kept_however_old_they_are(command: Command) -> None:
    then = clock.now() - timedelta(days=400)
    make_delivery(command, id=first_ledger_id_at(then), now=then)

    assert sweep().remove_aged(limit=100) == 0


def test_a_sweep_continues_where_it_stopped_until_the_end(command: Command) -> None:
    for number in range(10):
        make_finished(command, days_ago=80 - number, state=State.FAILED)
    for number in range(10):
        make_finished(command, days_ago=60 - number)
    walk = sweep()

    removed = [walk.remove_aged(limit=6) for _ in range(5)]

    assert removed == [0, 2, 6, 2, 0]
    assert Delivery.objects.count() == 10


def test_a_source_keeps_its_newest_rows_and_all_its_failures(command: Command) -> None:
    source = uuid4()
    rows = [make_finished(command, days_ago=20 - number, source_uuid=source) for number in range(12)]
    failure = make_finished(command, days_ago=25, state=State.FAILED, source_uuid=source)
    other = make_finished(command, days_ago=25)

    assert remove_surplus(source_uuid=source, keep=5, limit=4) == 4
    assert remove_surplus(source_uuid=source, keep=5, limit=100) == 2

    # The newest five, and the row that marks the limit.
    assert set(Delivery.objects.all()) == {*rows[-6:], failure, other}


def test_the_time_of_an_id_can_be_read_from_it() -> None:
    now = clock.now()
    row = make_delivery(now=now)

    assert first_ledger_id_at(now - timedelta(seconds=2)) < row.pk < first_ledger_id_at(now + timedelta(seconds=2))
