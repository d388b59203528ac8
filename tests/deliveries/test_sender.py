"""The sender against real receivers: what arrives, what is tried again, and what the ledger says afterwards."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection, transaction
from standardwebhooks import Webhook

from commands_platform.lib import clock
from deliveries import ledger, queue
from deliveries import sender as sender_module
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.origins import OriginSettings
from deliveries.sender import Sender, SenderSettings
from deliveries.services import cancel_pending, redeliver
from organizations.services import rotate_signing_secret
from outbound.address_guard import AddressGuard, origin_of, parse_networks
from tests.factories import make_command, make_delivery, make_user, read_token
from tests.locks import wait_for_waiters
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

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


@pytest.fixture
def sender() -> Sender:
    return make_sender()


def due_again(delivery: Delivery) -> None:
    """Lets the wait before the next attempt be over, and a lease too."""
    now = clock.now()
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=now)
    Delivery.objects.filter(pk=delivery.pk).exclude(lease=None).update(leased_until=now)


def test_a_callback_carries_what_the_contract_says(sender: Sender, receiver: Receiver) -> None:
    user = make_user()
    command = make_command(user.organization)
    body = {
        "intent": command.name,
        "exchange_token": None,
        "payload": {"text": "Grüße"},
        "scheduled_execution": {"uuid": "u", "attempt": 0},
    }
    delivery = make_delivery(command, user=user, url=receiver.url, body=orjson.dumps(body).decode())

    sender.drain()

    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("CommandsPlatform/")
    assert request.webhook_id == str(delivery.pk)
    assert request.headers["x-dailybot-signature"] == command.signature
    assert request.headers["x-correlation-id"]
    assert request.json["payload"] == {"text": "Grüße"}
    assert request.json["scheduled_execution"]["attempt"] == 1
    subject = read_token(request.json["exchange_token"])
    assert subject is not None
    assert (subject.command, subject.user) == (command, user)
    Webhook(command.signing_secret).verify(request.body, request.headers)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status, delivery.attempt_count) == (State.DELIVERED, 204, 1)
    assert 'exchange_token":null' in delivery.body


def test_an_attempt_keeps_its_timings_and_the_beginning_of_the_answer(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(200, body=b"\0" + b"x" * 10_000))
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert delivery.state == State.DELIVERED
    assert attempt["status"] == 200
    assert attempt["address"] == "127.0.0.1"
    assert attempt["total_ms"] > 0
    assert attempt["response"] == "\ufffd" + "x" * 4095


def test_a_receiver_that_echoes_the_request_leaves_no_secret_in_the_ledger(sender: Sender, receiver: Receiver) -> None:
    receiver.always_answer(lambda request: Answer(200, body=request.body + "".join(request.headers.values()).encode()))
    command = make_command()
    headers = '{"Authorization":"Bearer hush-hush"}'
    delivery = make_delivery(command, user=make_user(command.organization), url=receiver.url, headers=headers)

    sender.drain()

    (request,) = receiver.requests
    delivery.refresh_from_db()
    kept = orjson.dumps(delivery.attempts).decode()
    assert delivery.state == State.DELIVERED
    for secret in (
        request.json["exchange_token"],
        command.signature,
        request.headers["webhook-signature"],
        "hush-hush",
    ):
        assert secret not in kept


def test_both_secrets_sign_while_a_secret_is_rotated(sender: Sender, receiver: Receiver) -> None:
    command = make_command()
    old = command.signing_secret
    new = rotate_signing_secret(command=command).signing_secret
    make_delivery(command, url=receiver.url)

    sender.drain()

    (request,) = receiver.requests
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_these_answers_are_retried_with_the_same_webhook_id(sender: Sender, receiver: Receiver, status: int) -> None:
    receiver.answer_with(Answer(status))
    delivery = make_delivery(url=receiver.url)
    before = clock.now()

    sender.drain()
    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert delivery.next_attempt_at is not None
    assert timedelta(seconds=5) <= delivery.next_attempt_at - before <= timedelta(seconds=8)
    due_again(delivery)
    sender.drain()

    first, second = receiver.requests
    assert first.webhook_id == second.webhook_id
    assert second.json["scheduled_execution"]["attempt"] == 2
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED
    assert [attempt["status"] for attempt in delivery.attempts] == [status, 204]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 422])
def test_these_answers_end_it_at_once(sender: Sender, receiver: Receiver, status: int) -> None:
    receiver.answer_with(Answer(status, headers=(("Location", f"{receiver.url}/elsewhere"),)))
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason, delivery.last_status) == (State.FAILED, Reason.REJECTED, status)
    assert len(receiver.requests) == 1


def test_retry_after_makes_the_wait_longer(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503, headers=(("Retry-After", "120"),)))
    delivery = make_delivery(url=receiver.url)
    before = clock.now()

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.next_attempt_at is not None
    assert timedelta(seconds=120) <= delivery.next_attempt_at - before <= timedelta(seconds=125)


@pytest.mark.parametrize("max_attempts", [2, 3, 20])
def test_the_first_wait_is_the_shortest_whatever_the_number_of_attempts(
    sender: Sender, receiver: Receiver, max_attempts: int
) -> None:
    receiver.always_answer(lambda _: Answer(503))
    delivery = make_delivery(url=receiver.url, max_attempts=max_attempts)
    for _ in range(2):
        before = clock.now()
        sender.drain()
        delivery.refresh_from_db()
        if delivery.next_attempt_at is not None and delivery.attempt_count == 1:
            assert delivery.next_attempt_at - before <= timedelta(seconds=8)
        due_again(delivery) if Delivery.objects.pending().exists() else None
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.FAILED, reason=Reason.RETRIES_EXHAUSTED, next_attempt_at=None, finished_at=clock.now()
    )

    redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk))
    before = clock.now()
    sender.drain()

    delivery.refresh_from_db()
    assert delivery.max_attempts == 2 + max_attempts
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at - before <= timedelta(seconds=8)


def test_when_every_attempt_has_failed_so_has_the_delivery(receiver: Receiver) -> None:
    sender = make_sender(retry_delays=(timedelta(seconds=5), timedelta(seconds=30)))
    receiver.always_answer(lambda _: Answer(500))
    delivery = make_delivery(url=receiver.url, max_attempts=3)

    for _ in range(3):
        sender.drain()
        due_again(delivery) if Delivery.objects.pending().exists() else None

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason, delivery.attempt_count) == (State.FAILED, Reason.RETRIES_EXHAUSTED, 3)
    assert len(receiver.requests) == 3


def test_attempts_beyond_the_waits_are_made_at_the_last_wait(receiver: Receiver) -> None:
    sender = make_sender(retry_delays=(timedelta(seconds=5), timedelta(seconds=30)))
    receiver.always_answer(lambda _: Answer(503))
    delivery = make_delivery(url=receiver.url, max_attempts=20)
    waits = []

    while Delivery.objects.pending().exists():
        before = clock.now()
        sender.drain()
        delivery.refresh_from_db()
        if delivery.next_attempt_at is not None:
            waits.append(delivery.next_attempt_at - before)
            due_again(delivery)

    assert (delivery.state, delivery.reason, delivery.attempt_count) == (State.FAILED, Reason.RETRIES_EXHAUSTED, 20)
    assert len(waits) == 19
    assert all(timedelta(seconds=30) <= wait <= timedelta(seconds=38) for wait in waits[1:])


@pytest.mark.parametrize(("max_attempts", "hours"), [(3, 24), (8, 24), (9, 36), (20, 168)])
def test_a_redelivery_is_given_up_as_late_as_the_first_delivery(max_attempts: int, hours: int) -> None:
    delivery = make_delivery(max_attempts=max_attempts)
    for attempts_made in (2, 4):
        Delivery.objects.update(
            state=State.FAILED,
            reason=Reason.EXPIRED,
            attempt_count=attempts_made,
            next_attempt_at=None,
            finished_at=clock.now(),
        )
        before = clock.now()

        redeliver(deliveries=Delivery.objects.all())

        delivery.refresh_from_db()
        assert timedelta(0) <= delivery.expires_at - before - timedelta(hours=hours) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(hang_up=True), "reset"), (Answer(delay=3), "timeout")],
    ids=["the connection closes", "no answer in time"],
)
def test_an_attempt_without_an_answer_is_retried(receiver: Receiver, answer: Answer, error: str) -> None:
    sender = make_sender(timeout=timedelta(seconds=1))
    receiver.answer_with(answer)
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status) == (State.PENDING, None)
    assert delivery.attempts[0]["error"] == error
    assert delivery.attempts[0]["message"]


def test_a_refused_connection_is_retried(sender: Sender) -> None:
    with Receiver() as gone:
        url = gone.url
    delivery = make_delivery(url=url)

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert delivery.attempts[0]["error"] == "refused"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_an_address_that_must_not_be_reached_is_not(receiver: Receiver, host: str) -> None:
    sender = make_sender(guard=AddressGuard())
    delivery = make_delivery(url=f"http://{host}:{receiver.port}/callback")

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert "loopback" in delivery.attempts[0]["message"]
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("stricter", "cause"),
    [
        ({"allowed_ports": frozenset({443})}, "port {port} may not be called"),
        ({"allowed_schemes": frozenset({"https"})}, "scheme must be https"),
        ({"allowed_networks": ()}, "127.0.0.1 is a loopback address"),
    ],
    ids=["ports", "schemes", "networks"],
)
def test_a_url_that_was_saved_under_laxer_rules_is_not_called(
    receiver: Receiver, stricter: dict[str, Any], cause: str
) -> None:
    assert LOOPBACK.check_url(receiver.url) == receiver.url
    sender = make_sender(guard=replace(LOOPBACK, **stricter))
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert delivery.attempts[0]["error"] == "blocked_address"
    assert cause.format(port=receiver.port) in delivery.attempts[0]["message"]
    assert receiver.requests == []


def test_a_name_with_one_address_that_may_be_reached_is_tried_again(sender: Sender) -> None:
    """Where `localhost` is ::1 too, that one is refused, and says nothing of 127.0.0.1, which is only not there."""
    with Receiver() as gone:
        port = gone.port
    delivery = make_delivery(url=f"http://localhost:{port}/")

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert delivery.attempts[0]["error"] == "refused"


def test_the_environments_proxy_is_not_used(
    monkeypatch: pytest.MonkeyPatch, sender: Sender, receiver: Receiver
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_a_row_that_cannot_be_sent_fails_alone(sender: Sender, receiver: Receiver) -> None:
    poison = make_delivery(url=receiver.url, body="not JSON")
    others = [make_delivery(url=receiver.url) for _ in range(5)]

    sender.drain()

    poison.refresh_from_db()
    assert (poison.state, poison.reason) == (State.FAILED, Reason.UNSENDABLE)
    assert Delivery.objects.filter(pk__in=[each.pk for each in others], state=State.DELIVERED).count() == 5


def test_a_slow_receiver_does_not_hold_up_the_others(receiver: Receiver) -> None:
    sender = make_sender(window=4)
    receiver.always_answer(lambda request: Answer(delay=2.0 if "slow" in request.path else 0))
    make_delivery(url=f"{receiver.url}/slow")
    for _ in range(40):
        make_delivery(url=receiver.url)
    started = time.monotonic()

    sender.drain()

    assert time.monotonic() - started < 4
    slow = Delivery.objects.get(url__endswith="/slow")
    assert not Delivery.objects.exclude(pk=slow.pk).filter(finished_at__gte=slow.finished_at).exists()


def test_what_becomes_due_while_it_works_is_sent_in_the_same_run(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(delay=1.0))
    make_delivery(url=f"{receiver.url}/first")
    runner = threading.Thread(target=run_and_close, args=(sender,))
    runner.start()
    receiver.wait_for(1)
    make_delivery(url=f"{receiver.url}/second")

    second = receiver.wait_for(1, matching=lambda request: request.path.endswith("/second"))
    still_waiting = Delivery.objects.pending().filter(url__endswith="/first").exists()
    runner.join()

    assert second
    assert still_waiting


def test_a_sender_that_is_woken_just_before_a_second_sends_what_becomes_due_at_it(
    sender: Sender, receiver: Receiver
) -> None:
    now = clock.now()
    second = now.replace(microsecond=0) + timedelta(seconds=1 if now.microsecond < 900_000 else 2)
    delivery = make_delivery(url=receiver.url, due_at=second, next_attempt_at=second)
    time.sleep((second - timedelta(milliseconds=15) - now).total_seconds())

    assert sender.drain() == 1

    delivery.refresh_from_db()
    assert datetime.fromisoformat(delivery.attempts[0]["started_at"]) >= second


def run_and_close(sender: Sender) -> None:
    try:
        sender.drain()
    finally:
        connection.close()


def test_a_claim_that_nobody_ended_is_sent_again_after_its_lease(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)
    queue.claim(limit=10, lease=timedelta(seconds=60))
    sender.drain()
    assert receiver.requests == []

    due_again(delivery)
    sender.drain()

    (request,) = receiver.requests
    assert request.webhook_id == str(delivery.pk)
    assert request.json["scheduled_execution"]["attempt"] == 2


def test_an_outcome_whose_lease_is_lost_is_not_written() -> None:
    delivery = make_delivery()
    (stale,) = queue.claim(limit=1, lease=timedelta(seconds=0))
    (ours,) = queue.claim(limit=1, lease=timedelta(seconds=60))

    written = queue.record([queue.Outcome(stale.id, stale.lease, State.FAILED, Reason.REJECTED)])
    queue.record([queue.Outcome(ours.id, ours.lease, State.DELIVERED, status=200)])

    delivery.refresh_from_db()
    assert written == 0
    assert delivery.state == State.DELIVERED


def test_two_claims_never_share_a_row() -> None:
    for _ in range(50):
        make_delivery()
    barrier = threading.Barrier(2)
    claimed: list[list[queue.Claim]] = []

    def claim() -> None:
        barrier.wait()
        claimed.append(queue.claim(limit=30, lease=timedelta(seconds=60)))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, second = ({claim.id for claim in claims} for claims in claimed)
    assert len(first) + len(second) == 50
    assert not first & second


def test_a_cancelled_delivery_is_not_sent(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)

    cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_PAUSED)
    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_PAUSED)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (State.DELIVERED, State.DELIVERED, ""),
        (State.PENDING, State.CANCELLED, Reason.SCHEDULE_DELETED),
        (State.FAILED, State.FAILED, Reason.REJECTED),
    ],
)
def test_a_cancellation_in_mid_flight_forbids_a_retry_and_no_success(answer: State, state: State, reason: str) -> None:
    delivery = make_delivery()
    (claim,) = queue.claim(limit=1, lease=timedelta(seconds=60))
    cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_DELETED)

    retry_in = timedelta(seconds=5) if answer == State.PENDING else None
    why = Reason.REJECTED if answer == State.FAILED else ""
    queue.record([queue.Outcome(claim.id, claim.lease, answer, why, retry_in=retry_in)])

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (state, reason)


def test_a_cancelled_delivery_whose_sender_died_is_ended_not_sent(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)
    queue.claim(limit=1, lease=timedelta(seconds=60))
    cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_DELETED)
    due_again(delivery)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_DELETED)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("deactivate", "reason"),
    [
        ("command", Reason.COMMAND_INACTIVE),
        ("organization", Reason.COMMAND_INACTIVE),
        ("user", Reason.USER_INACTIVE),
    ],
)
def test_nothing_is_sent_for_somebody_inactive(
    sender: Sender, receiver: Receiver, deactivate: str, reason: Reason
) -> None:
    user = make_user()
    command = make_command(user.organization)
    delivery = make_delivery(command, user=user, url=receiver.url)
    rows: dict[str, Any] = {"command": command, "organization": user.organization, "user": user}
    rows[deactivate].is_active = False
    rows[deactivate].save(update_fields=["is_active"])

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)
    assert receiver.requests == []


def test_a_redelivery_has_the_same_id_and_a_full_set_of_attempts(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(404), Answer(503))
    delivery = make_delivery(url=receiver.url)
    sender.drain()

    redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk))
    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert {request.webhook_id for request in receiver.requests} == {str(delivery.pk)}
    assert len(delivery.attempts) == 2


def test_an_events_body_is_sent_as_it_is(sender: Sender, receiver: Receiver) -> None:
    body = '{"event":"kudos.posted","event_timestamp":1707154471.495433,"hook":{"id":1,"name":"x"},"body":{}}'
    make_delivery(kind=Kind.EVENT, destination="hook:1", url=receiver.url, body=body)

    sender.drain()

    (request,) = receiver.requests
    assert request.body == body.encode()


def test_when_it_is_told_to_stop_it_hands_back_what_it_holds(receiver: Receiver) -> None:
    sender = make_sender(window=2)
    receiver.always_answer(lambda _: Answer(delay=10))
    deliveries = [make_delivery(url=receiver.url) for _ in range(5)]
    stop = threading.Event()
    runner = threading.Thread(target=run_until, args=(sender, stop))
    runner.start()
    receiver.wait_for(2)

    stop.set()
    runner.join(timeout=8)

    assert not runner.is_alive()
    rows = Delivery.objects.filter(pk__in=[each.pk for each in deliveries])
    assert all(row.lease is None and row.state == State.PENDING and row.attempt_count == 0 for row in rows)


def run_until(sender: Sender, stop: threading.Event) -> None:
    try:
        sender.drain(should_stop=stop.is_set)
    finally:
        connection.close()


def test_a_request_begins_only_if_it_must_end_before_its_lease_does(receiver: Receiver) -> None:
    """A claim that has waited, or a process that was frozen, must not send what another may send by then."""
    timeout = timedelta(seconds=1.5)
    sender = make_sender(window=1, lease=timedelta(seconds=2), timeout=timeout)
    receiver.answer_with(Answer(delay=1.0))
    now = clock.now()
    make_delivery(url=f"{receiver.url}/first", now=now - timedelta(seconds=1))
    second = make_delivery(url=f"{receiver.url}/second", now=now)
    receiver.always_answer(lambda _: Answer(delay=0.3))
    runner = threading.Thread(target=run_and_close, args=(sender,))
    runner.start()

    receiver.wait_for(1, matching=lambda request: request.path.endswith("/second"))
    second.refresh_from_db()
    lease_left = second.leased_until - clock.now() if second.leased_until else timedelta(0)
    runner.join()

    assert lease_left > timeout - timedelta(seconds=0.2)
    second.refresh_from_db()
    assert (second.state, second.attempt_count) == (State.DELIVERED, 1)


def test_the_ledger_takes_one_row_for_a_slot() -> None:
    command = make_command()
    now = clock.now()
    row = ledger.NewRow(
        command.organization_id, command.pk, None, Kind.SCHEDULED, uuid4(), now, url="http://x/", body="{}"
    )

    written = [ledger.insert([row], now=now) for _ in range(2)]

    assert written == [1, 0]
    assert Delivery.objects.count() == 1


def test_a_hanging_receiver_with_a_long_queue_does_not_hold_up_the_others(receiver: Receiver) -> None:
    """Thousands are due for it, and were due first; the others arrive as if it were not there."""
    sender = make_sender(window=40, timeout=timedelta(seconds=2), origins=OriginSettings(most=20, first=10))
    with Receiver() as hanging:
        hanging.always_answer(lambda _: Answer(delay=3, hang_up=True))
        earlier = clock.now() - timedelta(seconds=5)
        command = make_command()
        row = ledger.NewRow(
            organization_id=command.organization_id,
            command_id=command.pk,
            user_id=None,
            kind=Kind.EVENT,
            source_uuid=uuid4(),
            due_at=earlier,
            url=hanging.url,
            origin=origin_of(hanging.url),
            body="{}",
        )
        ledger.insert([replace(row, source_uuid=uuid4()) for _ in range(2000)], now=earlier)
        for _ in range(100):
            make_delivery(command, url=receiver.url, origin=origin_of(receiver.url))
        stop = threading.Event()
        runner = threading.Thread(target=run_until, args=(sender, stop))
        started = time.monotonic()
        runner.start()

        receiver.wait_for(100)
        needed = time.monotonic() - started
        stop.set()
        runner.join()

    # Not one timeout's length, though two thousand requests that hang were due before.
    assert needed < 2
    assert len(hanging.requests) <= 20


def test_while_the_breaker_is_open_what_is_due_waits_and_does_not_count_as_tried(receiver: Receiver) -> None:
    settings = OriginSettings(most=4, first=4, failures=4, first_pause=30)
    sender = make_sender(window=10, timeout=timedelta(seconds=1), origins=settings)
    receiver.always_answer(lambda _: Answer(delay=2, hang_up=True))
    command = make_command()
    for _ in range(30):
        make_delivery(command, url=receiver.url, origin=origin_of(receiver.url))

    sender.drain()

    untouched = Delivery.objects.filter(attempt_count=0)
    assert len(receiver.requests) == 4
    assert untouched.count() == 26
    assert Delivery.objects.due(clock.now()).count() == 26
    assert all(row.state == State.PENDING and row.lease is None for row in untouched)


def test_what_was_due_for_too_long_for_an_origin_that_does_not_answer_has_failed(receiver: Receiver) -> None:
    old = make_delivery(url=receiver.url, origin=origin_of(receiver.url), now=clock.now() - timedelta(hours=25))
    new = make_delivery(url=receiver.url, origin=origin_of(receiver.url))

    expired = queue.expire(origin=origin_of(receiver.url), limit=10)

    assert expired == 1
    for row in (old, new):
        row.refresh_from_db()
    assert (old.state, old.reason) == (State.FAILED, Reason.EXPIRED)
    assert new.state == State.PENDING


def test_extra_headers_and_a_timeout_of_its_own_go_with_a_delivery(receiver: Receiver) -> None:
    sender = make_sender(timeout=timedelta(seconds=10))
    receiver.always_answer(lambda _: Answer(delay=2))
    headers = '{"X-Team":"blå","Authorization":"Bearer x"}'
    delivery = make_delivery(url=receiver.url, headers=headers, timeout=1)

    sender.drain()

    (request,) = receiver.requests
    assert request.headers["x-team"] == "blå"
    assert request.headers["authorization"] == "Bearer x"
    delivery.refresh_from_db()
    assert delivery.attempts[0]["error"] == "timeout"


def test_a_cancellation_meets_an_outcome_that_is_being_recorded() -> None:
    """A sender records a retry, and gives its lease back, at the very moment of the cancellation."""
    delivery = make_delivery()
    (claim,) = queue.claim(limit=1, lease=timedelta(seconds=60))
    recorded, go_on = threading.Event(), threading.Event()

    def record() -> None:
        try:
            with transaction.atomic():
                queue.record([queue.Outcome(claim.id, claim.lease, State.PENDING, retry_in=timedelta(seconds=5))])
                recorded.set()
                go_on.wait(10)
        finally:
            connection.close()

    def cancel() -> None:
        try:
            cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_PAUSED)
        finally:
            connection.close()

    threads = [threading.Thread(target=record), threading.Thread(target=cancel)]
    threads[0].start()
    recorded.wait(10)
    threads[1].start()
    wait_for_waiters()
    go_on.set()
    for thread in threads:
        thread.join()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_PAUSED)


def test_beside_a_crowded_origin_every_other_one_is_found(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """More origins than one look can see, and a backlog that is older than what is due for any of them."""
    monkeypatch.setattr(sender_module, "_ORIGINS_AT_ONCE", 2)
    command = make_command()
    with Receiver() as slow:
        slow.always_answer(lambda _: Answer(delay=0.2))
        for _ in range(60):
            old = clock.now() - timedelta(seconds=1)
            make_delivery(command, url=slow.url, origin=origin_of(slow.url), next_attempt_at=old)
        for number in range(7):
            make_delivery(command, url=receiver.url, origin=f"http://other-{number}:80")

        make_sender(window=10, origins=OriginSettings(most=3, first=3)).drain()

        assert len(slow.requests) == 60
        assert max(request.at for request in receiver.requests) < slow.requests[30].at
    assert len(receiver.requests) == 7
    assert not Delivery.objects.pending().exists()
