"""A sender holds a limited number of bytes, however large bodies are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries import queue
from deliveries.intake import MAX_BYTES_IN_FLIGHT, MAX_BYTES_WAITING, Intake
from deliveries.lanes import Lane, Lanes, LaneSettings
from deliveries.models import Delivery, State
from deliveries.queue import Claim
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_delivery
from tests.receiver import Receiver

MINUTE = timedelta(minutes=1)
LARGE = 256 * 1024


def make_due(count: int, *, size: int, origin: str = "http://receiver.example:80", url: str = "") -> None:
    body = '{"text":"' + "x" * (size - len('{"text":""}')) + '"}'
    command = make_command()
    for _ in range(count):
        make_delivery(command, body=body, origin=origin, **({"url": url} if url else {}))


def make_intake() -> Intake:
    return Intake(Lanes(LaneSettings(most=50, first=50)), window=100, lease=MINUTE)


@pytest.mark.django_db
def test_a_claim_ends_with_the_body_that_exceeds_its_budget() -> None:
    make_due(10, size=100_000)

    claims = queue.claim(limit=10, lease=MINUTE, max_bytes=250_000)

    assert [claim.size for claim in claims] == [100_000] * 3
    assert Delivery.objects.due(clock.now()).count() == 7


@pytest.mark.django_db
def test_a_claim_takes_at_least_one_body_however_large() -> None:
    make_due(2, size=100_000)

    assert len(queue.claim(limit=10, lease=MINUTE, max_bytes=1)) == 1


@pytest.mark.django_db
def test_the_byte_budget_of_a_claim_is_used_in_the_order_of_its_lanes() -> None:
    for origin in ("http://a:80", "http://b:80", "http://c:80"):
        make_due(2, size=1000, origin=origin)
    organizations = dict(Delivery.objects.values_list("origin", "organization_id"))
    of = {Lane(organizations[origin], origin): 5 for origin in ("http://b:80", "http://a:80", "http://c:80")}

    claims = queue.claim(limit=10, lease=MINUTE, max_bytes=2500, of=of)

    assert sorted(claim.origin for claim in claims) == ["http://a:80", "http://b:80", "http://b:80"]


@pytest.mark.django_db
@pytest.mark.parametrize("origins", [1, 4], ids=["one origin", "several origins"])
def test_bodies_that_wait_in_a_sender_have_a_byte_budget(origins: int) -> None:
    for number in range(origins):
        make_due(60 // origins, size=LARGE, origin=f"http://receiver-{number}.example:80")
    intake = make_intake()

    for _ in range(30):
        intake.claim(idle=100, in_flight=0)
        intake.look_at_once()
        held = sum(claim.size for line in intake._waiting.values() for claim in line)
        assert held <= 2 * MAX_BYTES_WAITING + origins * LARGE

    assert intake.waiting_count > 0


@pytest.mark.django_db
def test_small_bodies_do_not_wait_for_large_ones() -> None:
    make_due(3, size=LARGE, origin="http://large.example:80")
    make_due(3, size=200, origin="http://small.example:80")
    intake = make_intake()
    intake.take(queue.claim(limit=10, lease=MINUTE))

    begun: list[Claim] = list(intake.next_claims(lambda: MAX_BYTES_IN_FLIGHT))

    assert [claim.size for claim in begun] == [200] * 3
    assert len(list(intake.next_claims(lambda: 0))) == 3


@pytest.mark.django_db
@pytest.mark.parametrize("is_by_lane", [False, True])
def test_the_oldest_body_is_claimed_first_even_if_it_exceeds_the_budget_alone(is_by_lane: bool) -> None:
    make_due(1, size=MAX_BYTES_WAITING + LARGE, origin="http://largest.example:80")
    make_due(3, size=LARGE, origin="http://large.example:80")
    lanes = [Lane(*each) for each in Delivery.objects.order_by("id").values_list("organization_id", "origin")]
    of = dict.fromkeys(lanes, 5) if is_by_lane else None

    claims = queue.claim(limit=10, lease=MINUTE, max_bytes=MAX_BYTES_WAITING, of=of)

    assert [claim.origin for claim in claims] == ["http://largest.example:80"]


@pytest.mark.django_db
def test_no_large_body_overtakes_a_larger_one_that_waits() -> None:
    make_due(1, size=LARGE, origin="http://largest.example:80")
    make_due(3, size=LARGE // 4, origin="http://large.example:80")
    make_due(1, size=200, origin="http://small.example:80")
    intake = make_intake()
    intake.take(queue.claim(limit=10, lease=MINUTE))
    room_for_half = MAX_BYTES_IN_FLIGHT - LARGE // 2

    assert [claim.size for claim in intake.next_claims(lambda: room_for_half)] == [200]
    assert [claim.size for claim in intake.next_claims(lambda: 0)] == [LARGE, *[LARGE // 4] * 3]


@pytest.mark.django_db
def test_a_body_larger_than_the_limit_in_flight_is_sent_alone() -> None:
    make_due(1, size=MAX_BYTES_IN_FLIGHT + LARGE)
    intake = make_intake()
    intake.take(queue.claim(limit=1, lease=MINUTE))

    assert list(intake.next_claims(lambda: LARGE)) == []
    assert len(list(intake.next_claims(lambda: 0))) == 1


@pytest.mark.django_db(transaction=True)
def test_only_large_bodies_count_against_the_limit_in_flight(receiver: Receiver) -> None:
    make_due(5, size=16 * 1024, origin="http://127.0.0.1:1", url=receiver.url)
    make_due(2, size=LARGE, origin="http://127.0.0.1:2", url=receiver.url)
    sender = make_sender(window=100)
    run = sender._begin_run()
    run.intake.claim(idle=100, in_flight=0)

    sender._start(run)

    assert (run.in_flight, run.large_bytes_in_flight) == (7, 2 * LARGE)
    sender._give_back(run)
    assert (run.in_flight, run.large_bytes_in_flight) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_all_large_bodies_arrive_whole(receiver: Receiver) -> None:
    make_due(60, size=LARGE, origin="http://127.0.0.1", url=receiver.url)
    make_due(20, size=200, origin="http://127.0.0.1:1", url=receiver.url)

    sender = make_sender(window=50)
    assert sender.drain() == 80

    assert not Delivery.objects.exclude(state=State.DELIVERED).exists()
    assert sum(len(request.body) > LARGE - 100 for request in receiver.requests) == 60
    assert all(transfer.claim is None for transfer in sender._idle)


@pytest.mark.django_db
def test_the_rows_of_a_claim_begin_with_the_fields_of_a_claim() -> None:
    own = queue._Row._fields[: queue._COMMAND]

    assert Claim._fields == (*own, "command", "parties", "lane", "lease", "held_since")
