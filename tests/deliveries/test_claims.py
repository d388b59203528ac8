"""Claims for many origins: the index finds each of them, and none is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from deliveries import intake, queue
from deliveries.models import Delivery, DeliveryQuerySet, Reason, State
from deliveries.origins import Origins, OriginSettings
from deliveries.sender import Sender, SenderSettings
from outbound.address_guard import AddressGuard
from outbound.addresses import parse_networks
from tests.factories import make_command, make_delivery
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

BUSY, QUIET, OTHER = "http://busy:80", "http://quiet:80", "http://other:80"
LEASE = timedelta(seconds=60)
CLAIM_DUE = queue.claim


def make_due(origin: str, count: int = 1, **values: object) -> list[Delivery]:
    command = make_command()
    return [make_delivery(command, origin=origin, **values) for _ in range(count)]


def test_every_origin_with_pending_deliveries_is_found_once() -> None:
    make_due(BUSY, 5)
    make_due(QUIET, 2)
    make_due(OTHER, next_attempt_at=clock.now() + timedelta(hours=1))
    make_due(
        "http://finished:80", state=State.FAILED, reason=Reason.REJECTED, next_attempt_at=None, finished_at=clock.now()
    )

    assert queue.waiting_origins(limit=10) == [BUSY, OTHER, QUIET]


def test_origins_are_read_in_portions() -> None:
    for origin in (BUSY, QUIET, OTHER):
        make_due(origin)

    first = queue.waiting_origins(limit=2)
    rest = queue.waiting_origins(after=first[-1], limit=2)

    assert (first, rest) == ([BUSY, OTHER], [QUIET])
    assert queue.waiting_origins(after=rest[-1], limit=2) == []


def test_a_claim_for_some_origins_takes_no_more_of_each_than_it_asks_for() -> None:
    make_due(BUSY, 5)
    quiet = make_due(QUIET, 2)
    make_due(OTHER)

    claims = queue.claim(limit=10, lease=LEASE, of={BUSY: 2, QUIET: 3})

    assert sorted(claim.origin for claim in claims) == [BUSY, BUSY, QUIET, QUIET]
    assert {claim.id for claim in claims if claim.origin == QUIET} == {row.pk for row in quiet}
    assert Delivery.objects.due(clock.now()).count() == 4


def test_a_claim_for_some_origins_has_an_overall_limit() -> None:
    make_due(BUSY, 5)
    make_due(QUIET, 5)

    assert len(queue.claim(limit=3, lease=LEASE, of={BUSY: 5, QUIET: 5})) == 3
    assert Delivery.objects.exclude(lease=None).count() == 3


def test_a_claim_for_some_origins_takes_their_oldest_due_deliveries() -> None:
    now = clock.now()
    oldest, middle, _newest, later = (
        make_delivery(origin=QUIET, next_attempt_at=now + timedelta(seconds=seconds)) for seconds in (-30, -20, -10, 60)
    )

    claims = queue.claim(limit=10, lease=LEASE, of={QUIET: 2})

    assert [claim.id for claim in claims] == [oldest.pk, middle.pk]
    later.refresh_from_db()
    assert later.lease is None


def test_a_claim_can_be_limited_to_deliveries_that_just_became_due() -> None:
    now = clock.now()
    make_delivery(origin=QUIET, next_attempt_at=now - timedelta(seconds=30))
    fresh = make_delivery(origin=QUIET, next_attempt_at=now)

    claims = queue.claim(limit=10, lease=LEASE, of={QUIET: 10}, no_later_than=timedelta(seconds=5))

    assert [claim.id for claim in claims] == [fresh.pk]


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        (Delivery.objects.pending(), "pending"),
        (Delivery.objects.due(datetime(2026, 2, 25, tzinfo=UTC)), "pending"),
        (Delivery.objects.failed(), "failed"),
    ],
    ids=["pending", "due", "failed"],
)
def test_a_state_is_a_literal_in_a_statement(rows: DeliveryQuerySet, state: str) -> None:
    """As a parameter it would keep a generic plan from using the small indexes of that state."""
    statement, parameters = rows.query.sql_with_params()

    assert f"= ('{state}')" in statement
    assert state not in parameters


def test_claims_beyond_the_share_of_an_origin_leave_no_trace() -> None:
    """The surplus is released. When the origin has room again, there may be nothing left to begin."""
    settings = OriginSettings(most=5, first=5, failures=10)
    sender = Sender(
        SenderSettings(
            window=10,
            timeout=timedelta(seconds=1),
            lease=LEASE,
            retry_delays=(timedelta(seconds=5),),
            guard=AddressGuard(),
            origins=settings,
        )
    )
    run = sender._begin_run()
    for _ in range(5):
        sender._origins.begin(BUSY)
    sender._origins.end(BUSY, is_answered=False)
    make_due(BUSY)

    run.intake.take(queue.claim(limit=5, lease=LEASE))
    for _ in range(4):
        sender._origins.end(BUSY, is_answered=True)
    sender._start(run)

    assert (run.in_flight, run.intake.waiting_count) == (0, 0)
    assert Delivery.objects.due(clock.now()).count() == 1


def test_only_unclaimed_deliveries_of_the_last_second_are_counted_for_more_senders() -> None:
    now = clock.now()
    make_due(QUIET, 4, now=now - timedelta(milliseconds=400))
    make_due(OTHER, 2, now=now + timedelta(milliseconds=500))

    with clock.replaced_by(lambda: now):
        assert queue.count_due(most=100) == 4
        assert queue.count_due(most=3) == 3
        assert queue.count_due(most=100, until=now + timedelta(milliseconds=500)) == 6
        queue.claim(limit=3, lease=timedelta(milliseconds=100))
        assert queue.count_due(most=100) == 1
    with clock.replaced_by(lambda: now + timedelta(milliseconds=200)):
        assert queue.count_due(most=100) == 4


def test_one_sender_is_enough_for_older_deliveries() -> None:
    now = clock.now()
    make_due(QUIET, 3, now=now - timedelta(seconds=5))

    with clock.replaced_by(lambda: now):
        assert queue.count_due(most=100) == 1
        assert queue.count_due(most=100, until=now + timedelta(milliseconds=500)) == 1
        queue.claim(limit=3, lease=LEASE)
        assert queue.count_due(most=100) == 0


def test_a_run_begins_with_a_small_claim(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    def claim_due(**values: Any) -> list[queue.Claim]:
        limits.append(values["limit"])
        return CLAIM_DUE(**values)

    monkeypatch.setattr(queue, "claim", claim_due)
    make_due("http://127.0.0.1", 60, url=receiver.url)
    guard = AddressGuard(allowed_networks=parse_networks("127.0.0.0/8"))
    sender = Sender(SenderSettings(100, timedelta(seconds=5), LEASE, (), guard))

    assert sender.drain() == 60
    assert limits[0] < limits[1]


def test_a_walk_past_many_origins_continues_where_the_backlog_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that is due now for a later origin is claimed too. It must not hide the origins in between."""
    monkeypatch.setattr(intake, "_FIRST_CLAIM", 8)
    for number in range(20):
        make_due(f"http://late-{number:02}:80", now=clock.now() - timedelta(minutes=1))
    make_due("http://now:80")
    origins = Origins(OriginSettings())
    origins.mark_busy(BUSY)
    claimed = intake.Intake(origins, window=8, lease=LEASE)
    claimed._behind.add(None)

    claimed.claim(idle=8, in_flight=1)
    assert sorted(claimed._waiting)[-2:] == ["http://late-06:80", "http://now:80"]
    claimed.give_up()
    origins.mark_busy(BUSY)
    claimed.claim(idle=8, in_flight=1)

    assert min(claimed._waiting) == "http://late-07:80"
