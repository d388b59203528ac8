"""A row that another session has locked blocks neither the sender nor the housekeeping, and is not sent twice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from commands_platform.lib import clock
from deliveries import outcomes, queue
from deliveries.lanes import Lane
from deliveries.models import Delivery, Reason, State
from deliveries.retention import Sweep, remove_surplus
from deliveries.services import cancel_pending
from outbound.address_guard import origin_of
from tests.deliveries.senders import make_sender, run_and_close
from tests.factories import make_attempt, make_command, make_delivery
from tests.raw_receiver import RawReceiver
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


@contextmanager
def locked_elsewhere(delivery: Delivery) -> Iterator[None]:
    """Holds the row's lock in another session."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM deliveries_delivery WHERE id = %s FOR UPDATE", [delivery.pk])
        yield
        other.rollback()
    finally:
        other.close()


class Withholding:
    """A receiver that answers its requests once it is released."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self._arrived = threading.Semaphore(0)
        self.raw = RawReceiver(self._answer)

    def __enter__(self) -> Withholding:
        self.raw.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self.raw.__exit__()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._arrived.acquire(timeout=20)

    def _answer(self, connection: socket.socket) -> None:
        self._arrived.release()
        self.may_answer.wait(30)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def _wait_until_delivered(deliveries: list[Delivery]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        rows = Delivery.objects.filter(pk__in=[each.pk for each in deliveries], state=State.DELIVERED)
        if rows.count() == len(deliveries):
            return
        pause.wait(0.01)
    raise AssertionError("The other deliveries were not recorded.")


def test_outcomes_of_locked_rows_are_written_later_and_all_others_at_once() -> None:
    with Withholding() as receiver:
        delivery = make_delivery(url=receiver.raw.url)
        others = [make_delivery(url=receiver.raw.url) for _ in range(3)]
        runner = threading.Thread(target=run_and_close, args=(make_sender(timeout=timedelta(seconds=20)),))
        runner.start()
        receiver.wait_for(4)

        with locked_elsewhere(delivery):
            receiver.may_answer.set()
            _wait_until_delivered(others)
            delivery.refresh_from_db()
            assert delivery.state == State.PENDING
        runner.join(timeout=20)

        assert len(receiver.raw.requests) == 4
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count, len(delivery.attempts)) == (State.DELIVERED, 1, 1)


def test_a_row_that_is_locked_for_longer_than_its_lease_is_not_sent_again() -> None:
    with Withholding() as receiver:
        delivery = make_delivery(url=receiver.raw.url)
        sender = make_sender(lease=timedelta(seconds=4), timeout=timedelta(seconds=3))
        runner = threading.Thread(target=run_and_close, args=(sender,))
        runner.start()
        receiver.wait_for(1)

        with locked_elsewhere(delivery):
            receiver.may_answer.set()
            _wait_until_lease_is_over(delivery)
        runner.join(timeout=20)

        assert len(receiver.raw.requests) == 1
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def _wait_until_lease_is_over(delivery: Delivery) -> None:
    pause = threading.Event()
    for _ in range(1000):
        delivery.refresh_from_db()
        if delivery.leased_until is not None and delivery.leased_until < clock.now():
            return
        pause.wait(0.01)
    raise AssertionError("The lease did not end.")


def test_a_new_claim_of_a_row_that_was_already_sent_only_writes_its_outcome(receiver: Receiver) -> None:
    """The lock was released just when the lease ended, and our own next claim came first."""
    sender = make_sender()
    delivery = make_delivery(url=receiver.url)
    (lost,) = queue.claim(limit=1, lease=timedelta(0))
    run = sender._begin_run()
    outcome = outcomes.Outcome(lost.id, lost.lease, State.DELIVERED, status=200, attempt=make_attempt())
    run.recording.locked[lost.id] = outcome
    (again,) = queue.claim(limit=1, lease=MINUTE)

    sender._start_or_finish(run, again)
    run.recording.write_all()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status) == (State.DELIVERED, 200)
    assert receiver.requests == []


def test_recording_distinguishes_locked_rows_from_lost_leases() -> None:
    locked, lost, ours = (make_delivery() for _ in range(3))
    claims = {claim.id: claim for claim in queue.claim(limit=3, lease=MINUTE)}
    Delivery.objects.filter(pk=lost.pk).update(lease=claims[ours.pk].id)
    results = [outcomes.Outcome(claim.id, claim.lease, State.DELIVERED, status=200) for claim in claims.values()]

    with locked_elsewhere(locked):
        recorded = outcomes.record(results)

    assert recorded.written == 1
    assert [outcome.id for outcome in recorded.locked] == [locked.pk]
    assert outcomes.record(recorded.locked) == outcomes.Recorded(1, [])


def test_housekeeping_skips_locked_rows() -> None:
    command, old = make_command(), clock.now() - timedelta(days=100)
    origin = "http://hanging.example:80"
    source = make_delivery(command).source_uuid
    finished = [
        make_delivery(
            command,
            pk=f"00000000-0000-7000-8000-00000000000{number}",
            now=old + timedelta(seconds=number),
            source_uuid=source,
            state=State.CANCELLED,
            reason=Reason.SCHEDULE_PAUSED,
            next_attempt_at=None,
            finished_at=old,
        )
        for number in range(4)
    ]
    waiting = [make_delivery(command, origin=origin, now=old) for _ in range(2)]

    with locked_elsewhere(finished[0]):
        assert remove_surplus(source_uuid=source, keep=1, limit=1) == 1
        sweep = Sweep(keep_finished=timedelta(days=1), keep_failed=timedelta(days=1))
        assert sweep.remove_aged(limit=10) == 2
    with locked_elsewhere(waiting[0]):
        assert outcomes.expire(lane=Lane(command.organization_id, origin), limit=10) == 1
        outcomes.release(queue.claim(limit=10, lease=MINUTE))


def test_cancelling_recording_and_claiming_at_once_never_deadlocks() -> None:
    """Five threads work on the same rows, each in its own order."""
    command = make_command()
    sources = [make_delivery(command).source_uuid for _ in range(40)]
    stop, errors = threading.Event(), []

    def repeat(work: Any) -> None:
        try:
            while not stop.is_set():
                work()
        except Exception as error:  # noqa: BLE001 (the test shows whatever it was)
            errors.append(error)
        finally:
            connection.close()

    def send() -> None:
        claims = queue.claim(limit=40, lease=MINUTE)
        if claims:
            outcomes.record(
                [
                    outcomes.Outcome(
                        claim.id, claim.lease, State.PENDING, retry_in=timedelta(0), attempt=make_attempt()
                    )
                    for claim in reversed(claims)
                ]
            )

    def cancel(order: int) -> None:
        cancel_pending(source_uuids=sources[::order], reason=Reason.SCHEDULE_PAUSED)

    def revive() -> None:
        with transaction.atomic():
            ids = Delivery.objects.filter(state=State.CANCELLED).select_for_update(skip_locked=True).order_by("pk")
            Delivery.objects.filter(pk__in=[row.pk for row in ids]).update(
                state=State.PENDING, reason="", next_attempt_at=clock.now(), finished_at=None, attempts=[]
            )

    works = [send, send, lambda: cancel(1), lambda: cancel(-1), revive]
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(3)
    stop.set()
    for thread in threads:
        thread.join()

    assert errors == []


def test_a_locked_row_does_not_stop_the_others_of_its_origin(receiver: Receiver) -> None:
    locked = make_delivery(url=receiver.url, origin=origin_of(receiver.url))
    make_delivery(url=receiver.url, origin=origin_of(receiver.url))

    with locked_elsewhere(locked):
        assert make_sender().drain() == 1
    assert len(receiver.requests) == 1
