"""Claims for many lanes: the index finds each of them, and none is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from deliveries import intake, queue
from deliveries.lanes import Lane, Lanes, LaneSettings
from deliveries.models import Delivery, DeliveryQuerySet, Reason, State
from deliveries.sender import Sender
from deliveries.sender_settings import SenderSettings
from organizations.models import Command
from outbound.address_guard import AddressGuard
from outbound.addresses import parse_networks
from tests.factories import make_command, make_delivery
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

BUSY, QUIET, OTHER = "http://busy:80", "http://quiet:80", "http://other:80"
LEASE = timedelta(seconds=60)
CLAIM_DUE = queue.claim


def make_due(origin: str, count: int = 1, *, command: Command | None = None, **values: object) -> list[Delivery]:
    command = command or make_command()
    return [make_delivery(command, origin=origin, **values) for _ in range(count)]


def lane_of(delivery: Delivery) -> Lane:
    return Lane(delivery.organization_id, delivery.origin)


def test_every_lane_with_pending_deliveries_is_found_once() -> None:
    command, other = make_command(), make_command()
    make_due(BUSY, 5, command=command)
    make_due(QUIET, 2, command=command)
    make_due(QUIET, 2, command=other)
    make_due(OTHER, command=command, next_attempt_at=clock.now() + timedelta(hours=1))
    make_due(
        "http://finished:80", state=State.FAILED, reason=Reason.REJECTED, next_attempt_at=None, finished_at=clock.now()
    )
    first, second = command.organization_id, other.organization_id

    found = queue.waiting_lanes(limit=10)

    assert found.lanes == [*(Lane(first, origin) for origin in (BUSY, OTHER, QUIET)), Lane(second, QUIET)]
    assert found.due == [Lane(first, BUSY), Lane(first, QUIET), Lane(second, QUIET)]
    assert (found.organizations, found.unread) == ([first, second], {})


def test_lanes_are_read_in_portions() -> None:
    command = make_command()
    for number in range(6):
        make_due(f"http://many-{number}:80", command=command)
    make_due(QUIET)
    organization = command.organization_id

    first = queue.waiting_lanes(limit=8)
    rest = queue.waiting_lanes(limit=8, after_origins=first.unread)

    assert first.lanes[:-1] == [Lane(organization, f"http://many-{number}:80") for number in range(4)]
    assert first.unread == {organization: "http://many-3:80"}
    assert rest.lanes[:-1] == [Lane(organization, f"http://many-{number}:80") for number in (4, 5)]
    assert rest.unread == {}


def test_organizations_are_read_in_portions() -> None:
    make_due(QUIET)
    make_due(QUIET)

    [first] = queue.waiting_lanes(limit=1).organizations
    [second] = queue.waiting_lanes(limit=1, after_organization=first).organizations

    assert queue.waiting_lanes(limit=5).organizations == [first, second]


def test_an_organization_that_was_read_to_its_end_is_still_known() -> None:
    lane = lane_of(make_due(QUIET)[0])

    found = queue.waiting_lanes(limit=5, after_origins={lane.organization_id: QUIET})

    assert found == ([lane.organization_id], [], [], {})


def test_a_claim_for_some_lanes_takes_no_more_of_each_than_it_asks_for() -> None:
    busy, quiet = make_due(BUSY, 5), make_due(QUIET, 2)
    make_due(OTHER)

    claims = queue.claim(limit=10, lease=LEASE, of={lane_of(busy[0]): 2, lane_of(quiet[0]): 3})

    assert sorted(claim.origin for claim in claims) == [BUSY, BUSY, QUIET, QUIET]
    assert {claim.id for claim in claims if claim.origin == QUIET} == {row.pk for row in quiet}
    assert Delivery.objects.due(clock.now()).count() == 4


def test_a_claim_for_some_lanes_has_an_overall_limit() -> None:
    lanes = [lane_of(make_due(origin, 5)[0]) for origin in (BUSY, QUIET)]

    assert len(queue.claim(limit=3, lease=LEASE, of=dict.fromkeys(lanes, 5))) == 3
    assert Delivery.objects.exclude(lease=None).count() == 3


def test_a_claim_for_some_lanes_takes_their_oldest_due_deliveries() -> None:
    now = clock.now()
    command = make_command()
    oldest, middle, _newest, later = (
        make_delivery(command, origin=QUIET, next_attempt_at=now + timedelta(seconds=seconds))
        for seconds in (-30, -20, -10, 60)
    )

    claims = queue.claim(limit=10, lease=LEASE, of={lane_of(oldest): 2})

    assert [claim.id for claim in claims] == [oldest.pk, middle.pk]
    later.refresh_from_db()
    assert later.lease is None


def test_a_claim_can_be_limited_to_deliveries_that_just_became_due() -> None:
    now = clock.now()
    command = make_command()
    make_delivery(command, origin=QUIET, next_attempt_at=now - timedelta(seconds=30))
    fresh = make_delivery(command, origin=QUIET, next_attempt_at=now)

    claims = queue.claim(limit=10, lease=LEASE, of={lane_of(fresh): 10}, no_later_than=timedelta(seconds=5))

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


def test_claims_beyond_the_share_of_a_lane_leave_no_trace() -> None:
    """The surplus is released. When the lane has room again, there may be nothing left to begin."""
    settings = LaneSettings(most=5, first=5, failures=10)
    sender = Sender(
        SenderSettings(
            window=10,
            timeout=timedelta(seconds=1),
            lease=LEASE,
            retry_delays=(timedelta(seconds=5),),
            guard=AddressGuard(),
            lanes=settings,
        )
    )
    run = sender._begin_run()
    lane = lane_of(make_due(BUSY)[0])
    for _ in range(5):
        sender._lanes.begin(lane)
    sender._lanes.end(lane, is_answered=False)

    run.intake.take(queue.claim(limit=5, lease=LEASE))
    for _ in range(4):
        sender._lanes.end(lane, is_answered=True)
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


def test_a_walk_past_many_lanes_continues_where_it_ended() -> None:
    command = make_command()
    for number in range(20):
        make_due(f"http://late-{number:02}:80", command=command)
    lanes = Lanes(LaneSettings(first=1), window=8)
    lanes.mark_busy(Lane(command.organization_id, BUSY))
    claimed = intake.Intake(lanes, window=8, lease=LEASE)
    seen = []

    for _ in range(30):
        claimed.claim(idle=8, in_flight=1)
        seen += [claim.origin for claim in claimed.give_up()]
        claimed.look_at_once()

    assert sorted(seen) == [f"http://late-{number:02}:80" for number in range(20)]


def test_organizations_take_turns_on_a_walk() -> None:
    """The organization with many receivers comes first, and its backlog is older."""
    many, one = make_command(), make_command()
    for number in range(50):
        make_due(f"http://many-{number:02}:80", command=many, now=clock.now() - timedelta(minutes=1))
    make_due(QUIET, command=one)
    lanes = Lanes(LaneSettings(first=1), window=8)
    claimed = intake.Intake(lanes, window=8, lease=LEASE)
    claimed._was_full = True

    claimed.claim(idle=8, in_flight=1)

    assert Lane(one.organization_id, QUIET) in claimed._waiting


def test_however_many_lanes_have_nothing_due_a_walk_skips_them() -> None:
    failing, other = make_command(), make_command()
    later = clock.now() + timedelta(minutes=5)
    for number in range(30):
        make_due(f"http://failing-{number:02}:80", command=failing, next_attempt_at=later)
    make_due(QUIET, command=other)
    lanes = Lanes(LaneSettings(first=1), window=8)
    lanes.mark_busy(Lane(failing.organization_id, BUSY))
    claimed = intake.Intake(lanes, window=8, lease=LEASE)

    claimed.claim(idle=8, in_flight=1)

    assert list(claimed._waiting) == [Lane(other.organization_id, QUIET)]


def test_however_many_busy_lanes_have_no_room_the_others_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_BUSY_AT_ONCE", 5)
    lanes = Lanes(LaneSettings(failures=1), window=20)
    for number in range(12):
        refusing = Lane(1, f"http://refusing-{number}:80")
        lanes.begin(refusing)
        lanes.end(refusing, is_answered=False)
    command = make_command()
    proven = Lane(command.organization_id, BUSY)
    lanes.begin(proven)
    lanes.end(proven, is_answered=True)
    make_due(BUSY, 3, command=command)
    lanes.mark_busy(proven)
    claimed = intake.Intake(lanes, window=20, lease=LEASE)

    for _ in range(4):
        claimed._claim_of_busy_lanes()

    assert len(claimed._waiting[proven]) == 3
