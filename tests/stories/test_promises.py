"""The product's promises, tested over HTTP against real processes. One pytest worker runs all of them."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from standardwebhooks import Webhook

from harness.platform import RunningPlatform, wait_until
from tests.receiver import Answer, Receiver
from tests.stories.platform import Team

pytestmark = [pytest.mark.xdist_group("stories"), pytest.mark.timeout(180)]


def due_times(receiver: Receiver) -> list[datetime]:
    return [datetime.fromisoformat(request.json["scheduled_execution"]["due_at"]) for request in receiver.requests]


def lags(receiver: Receiver) -> list[float]:
    """Returns how many seconds after its due time each callback was signed."""
    signed = (int(request.headers["webhook-timestamp"]) for request in receiver.requests)
    return [at - due.timestamp() for at, due in zip(signed, due_times(receiver), strict=True)]


def test_a_scheduled_callback_arrives_signed_and_its_token_works(team: Team, receiver: Receiver) -> None:
    uuid = team.schedule(payload={"text": "Grüße"})

    (request,) = receiver.wait_for(1)

    Webhook(team.made["command"]["signing_secret"]).verify(request.body, request.headers)
    assert request.headers["x-dailybot-signature"] == team.made["command"]["signature"]
    body = request.json
    assert body["payload"] == {"text": "Grüße"}
    assert body["user_uuid"] == team.made["user"]["uuid"]
    assert body["scheduled_execution"]["uuid"] == uuid
    team.token = body["exchange_token"]
    assert team.get(f"/v1/platform/scheduling/{uuid}/").json["is_active"] is False
    assert team.post("/v1/platform/storage/", {"op": "set", "params": {"key": "k", "value": 1}}).json == 1
    wait_until(lambda: team.ledger(uuid) == [("delivered", "")])


def test_a_period_of_a_second_with_three_repeats_fires_three_times_on_whole_seconds(
    team: Team, receiver: Receiver
) -> None:
    uuid = team.schedule(execution_frequency=1, repeats=3)

    receiver.wait_for(3)
    time.sleep(2.5)

    due = due_times(receiver)
    assert len(due) == 3
    assert all(each.microsecond == 0 for each in due)
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(due)] == [1, 1]
    assert team.get(f"/v1/platform/scheduling/{uuid}/").json["is_active"] is False


def test_a_paused_schedule_sends_nothing(team: Team, receiver: Receiver) -> None:
    uuid = team.schedule(execution_frequency=1)
    receiver.wait_for(1)

    team.put(f"/v1/platform/scheduling/{uuid}/", {"is_active": False})
    # Callbacks that were in flight when the pause began may still arrive.
    time.sleep(0.5)
    before = len(receiver.requests)
    time.sleep(3)

    assert len(receiver.requests) == before


def test_a_change_is_in_every_later_callback_however_late_it_was_made(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    """Slots are written ahead of their time, and nobody may notice."""
    uuid = team.schedule(execution_frequency=1, payload={"version": 0})
    receiver.wait_for(1)
    changed_at = []

    for version, moment in enumerate((0.3, 0.6, 0.8, 0.9), start=1):
        time.sleep(1 - time.time() % 1 + moment)
        team.put(f"/v1/platform/scheduling/{uuid}/", {"payload": {"version": version}})
        changed_at.append(time.time())
    receiver.wait_for(1, matching=lambda request: request.json["payload"] == {"version": 4})
    team.put(f"/v1/platform/scheduling/{uuid}/", {"is_active": False})

    for due_at, request in zip(due_times(receiver), receiver.requests, strict=True):
        changes_before = sum(instant < due_at.timestamp() for instant in changed_at)
        assert request.json["payload"]["version"] >= changes_before
    rows = platform.query("SELECT due_at FROM deliveries_delivery WHERE source_uuid = %s ORDER BY due_at", [uuid])
    assert [(later - earlier).total_seconds() for (earlier,), (later,) in pairwise(rows)] == [1] * (len(rows) - 1)


def test_a_single_run_between_two_seconds_does_not_wait_for_the_next_one(team: Team, receiver: Receiver) -> None:
    time.sleep(1 - time.time() % 1)
    starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1.1)

    team.schedule(starts_at=starts_at.isoformat())
    (request,) = receiver.wait_for(1)

    assert due_times(receiver) == [starts_at]
    assert int(request.headers["webhook-timestamp"]) == int(starts_at.timestamp())


def test_a_503_is_retried_with_the_same_webhook_id(team: Team, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503), Answer(503))

    uuid = team.schedule()
    requests = receiver.wait_for(3)

    assert len({request.webhook_id for request in requests}) == 1
    assert [request.json["scheduled_execution"]["attempt"] for request in requests] == [1, 2, 3]
    wait_until(lambda: team.ledger(uuid) == [("delivered", "")])


def test_an_event_reaches_its_hook(team: Team, receiver: Receiver) -> None:
    hook = team.post("/v1/platform/event-subscription/", {"subscriptions": ["kudos.*"]}).json["hook_uuid"]

    team.post("/v1/platform/events/", {"event": "kudos.posted", "body": {"from": "Ada"}})
    team.post("/v1/platform/events/", {"event": "forms.response.created"})
    (request,) = receiver.wait_for(1)

    assert request.json["event"] == "kudos.posted"
    assert request.json["hook"] == {"id": hook, "name": "hello"}
    assert request.json["body"] == {"from": "Ada"}
    Webhook(team.made["command"]["signing_secret"]).verify(request.body, request.headers)


def test_killing_a_deliverer_during_a_request_loses_nothing(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(delay=1.5))
    uuid = team.schedule()
    receiver.wait_for(1)

    platform.kill("deliverer")
    platform.start("deliverer")
    first, second = receiver.wait_for(2, timeout=30)

    assert first.webhook_id == second.webhook_id
    wait_until(lambda: team.ledger(uuid) == [("delivered", "")])


def test_flushing_the_broker_loses_nothing(platform: RunningPlatform, team: Team, receiver: Receiver) -> None:
    platform.stop("dispatcher")
    platform.stop("deliverer")
    uuids = [team.schedule() for _ in range(5)]

    platform.redis().flushall()
    platform.start("dispatcher")
    platform.start("deliverer")
    receiver.wait_for(5, timeout=30)

    wait_until(lambda: all(team.ledger(uuid) == [("delivered", "")] for uuid in uuids))


def test_without_the_broker_callbacks_come_within_two_seconds(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    assert platform.servers.valkey is not None
    platform.servers.valkey.stop()
    try:
        periodic = team.schedule(execution_frequency=1)
        single = team.schedule()
        receiver.wait_for(6, timeout=20)
        assert platform.call("GET", "/readyz").json["status"] == "degraded"
    finally:
        platform.servers.valkey.start()
    wait_until(lambda: platform.call("GET", "/readyz").json["status"] == "ready")
    team.put(f"/v1/platform/scheduling/{periodic}/", {"is_active": False})

    wait_until(lambda: {state for state, _ in team.ledger(periodic)} <= {"delivered", "cancelled"})
    assert team.ledger(single) == [("delivered", "")]
    assert max(lags(receiver)) < 2


def test_without_the_broker_an_event_reaches_its_hook_within_two_seconds(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    assert platform.servers.valkey is not None
    team.post("/v1/platform/event-subscription/", {"subscriptions": ["kudos.*"]})
    platform.servers.valkey.stop()
    try:
        assert team.post("/v1/platform/events/", {"event": "kudos.posted"}).json["deliveries"] == 1
        (request,) = receiver.wait_for(1, timeout=20)
    finally:
        platform.servers.valkey.start()
    wait_until(lambda: platform.call("GET", "/readyz").json["status"] == "ready")

    assert int(request.headers["webhook-timestamp"]) - request.json["event_timestamp"] < 2


def test_without_beat_callbacks_come_within_two_seconds(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    platform.stop("beat")
    try:
        uuid = team.schedule(execution_frequency=1)
        receiver.wait_for(5, timeout=20)
    finally:
        platform.start("beat")
    team.put(f"/v1/platform/scheduling/{uuid}/", {"is_active": False})

    assert max(lags(receiver)) < 2


@pytest.mark.parametrize(
    ("offset", "step"), [(0, -30), (-11, 0), (11, 0)], ids=["steps back by 30 s", "is 11 s behind", "is 11 s ahead"]
)
def test_the_clock_of_beat_delays_nothing(
    platform: RunningPlatform, team: Team, receiver: Receiver, offset: int, step: int
) -> None:
    platform.stop("beat")
    platform.add_process(
        "skewed", f"COMMANDS_PROCESS_NAME=beat exec python -m tests.stories.skewed_beat {offset} {step} 3"
    )
    platform.start("skewed")
    try:
        uuid = team.schedule(execution_frequency=1)
        receiver.wait_for(6, timeout=20)
        assert "skewed" not in platform.ended()
    finally:
        platform.stop("skewed")
        platform.start("beat")
    team.put(f"/v1/platform/scheduling/{uuid}/", {"is_active": False})

    assert max(lags(receiver)) < 2


def test_every_process_reconnects_to_a_restarted_database(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    assert platform.servers.postgres is not None
    uuid = team.schedule(execution_frequency=1)
    receiver.wait_for(2)

    platform.servers.postgres.stop()
    platform.servers.postgres.start()
    before = len(receiver.requests)
    platform.wait_until_ready()
    receiver.wait_for(before + 3, timeout=40)

    team.put(f"/v1/platform/scheduling/{uuid}/", {"is_active": False})
    # Callbacks that were in flight may come twice, with the same id.
    ids = {(request.json["scheduled_execution"]["due_at"], request.webhook_id) for request in receiver.requests}
    assert len(ids) == len(set(due_times(receiver)))
    assert Counter(state for state, _ in team.ledger(uuid)).keys() <= {"delivered", "skipped", "cancelled"}


def test_two_beats_and_two_dispatchers_fire_no_slot_twice(
    platform: RunningPlatform, team: Team, receiver: Receiver
) -> None:
    for name in ("beat", "dispatcher", "deliverer"):
        platform.start(f"{name}.2")
    try:
        uuids = [team.schedule(execution_frequency=1, repeats=4) for _ in range(10)]
        receiver.wait_for(40, timeout=40)
        time.sleep(1.5)
    finally:
        for name in ("beat", "dispatcher", "deliverer"):
            platform.stop(f"{name}.2")

    sent = Counter(
        (request.json["scheduled_execution"]["uuid"], request.json["scheduled_execution"]["due_at"])
        for request in receiver.requests
    )
    assert max(sent.values()) == 1
    assert len(sent) == 40
    assert {uuid for uuid, _ in sent} == set(uuids)
