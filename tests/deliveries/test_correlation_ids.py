"""Deliveries keep the correlation id of the request that caused them, and send it with each callback."""

from __future__ import annotations

from datetime import timedelta

import pytest
import structlog

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from deliveries.sender import Sender
from deliveries.services import redeliver
from scheduling import dispatch
from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.events.hooks import make_hook
from tests.factories import make_delivery, make_schedule
from tests.outbox import fan_out
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/v1/platform/scheduling/"
SENT = {"X-Correlation-Id": "order-17"}


def correlation_ids() -> list[str | None]:
    return list(Delivery.objects.order_by("id").values_list("correlation_id", flat=True))


def test_a_single_run_sends_the_id_of_the_request_that_made_its_schedule(
    alice: ApiClient, sender: Sender, receiver: Receiver
) -> None:
    receiver.always_answer(lambda _: Answer(503))
    alice.post(LIST, {"name": "once", "callback_url": receiver.url}, headers=SENT)

    dispatch.dispatch_due()
    sender.drain()
    Delivery.objects.update(next_attempt_at=clock.now())
    sender.drain()

    assert [request.headers["x-correlation-id"] for request in receiver.requests] == ["order-17"] * 2


def test_a_single_run_sends_the_id_of_the_request_that_resumed_its_schedule(alice: ApiClient) -> None:
    body = {"name": "once", "is_active": False, "callback_url": "http://127.0.0.1:9000/"}
    uuid = alice.post(LIST, body, headers=SENT).json()["uuid"]

    alice.put(f"{LIST}{uuid}/", {"name": "later"}, headers={"X-Correlation-Id": "a-name"})
    alice.put(f"{LIST}{uuid}/", {"is_active": True}, headers={"X-Correlation-Id": "go"})
    dispatch.dispatch_due()

    assert correlation_ids() == ["go"]


def test_a_recurring_run_sends_an_id_of_its_own(alice: ApiClient, sender: Sender, receiver: Receiver) -> None:
    uuid = alice.post(
        LIST, {"name": "often", "execution_frequency": 60, "callback_url": receiver.url}, headers=SENT
    ).json()["uuid"]
    now = clock.now()
    ScheduledExecution.objects.filter(uuid=uuid).update(
        next_run_at=now, anchor_at=now - timedelta(seconds=60), effective_from=now - timedelta(seconds=30)
    )

    dispatch.dispatch_due()
    sender.drain()

    assert correlation_ids() == [None]
    assert [request.headers["x-correlation-id"] for request in receiver.requests] == [receiver.requests[0].webhook_id]


def test_a_redelivery_sends_the_id_of_its_request(alice: ApiClient) -> None:
    schedule = make_schedule(alice.caller.command)
    row = make_delivery(
        schedule.command,
        source_uuid=schedule.uuid,
        state=State.FAILED,
        reason=Reason.REJECTED,
        next_attempt_at=None,
        finished_at=clock.now(),
    )
    path = f"{LIST}{schedule.uuid}/slots/{row.pk}/"
    assert alice.get(path).json()["correlation_id"] == str(row.pk)

    alice.post(f"{path}redeliver/", headers=SENT)

    assert correlation_ids() == ["order-17"]
    assert alice.get(path).json()["correlation_id"] == "order-17"


def test_a_redelivery_outside_of_a_request_has_no_id() -> None:
    make_delivery(
        state=State.FAILED, reason=Reason.REJECTED, next_attempt_at=None, finished_at=clock.now(), correlation_id="old"
    )

    redeliver(deliveries=Delivery.objects.all())

    assert correlation_ids() == [None]


def test_the_deliveries_of_an_event_send_the_id_of_the_request_that_published_it(alice: ApiClient) -> None:
    make_hook(alice.caller, "kudos.*")
    client = ApiClient(alice.caller.with_scopes("EVENTS_PUBLISH"))

    client.post("/v1/platform/events/", {"event": "kudos.given", "body": {}}, headers=SENT)
    fan_out()

    assert correlation_ids() == ["order-17"]


@pytest.mark.filterwarnings("ignore::UserWarning:structlog")
def test_the_log_of_a_failed_callback_has_the_id(sender: Sender, receiver: Receiver) -> None:
    receiver.always_answer(lambda _: Answer(400))
    make_delivery(url=receiver.url, correlation_id="order-17")

    with structlog.testing.capture_logs() as log:
        sender.drain()

    assert [entry["correlation_id"] for entry in log if entry["event"] == "callback_not_delivered"] == ["order-17"]
