"""The walk after a change of zone: portions, locked rows, crashes and further changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import Error, connection, transaction

from organizations.models import Organization
from scheduling import dispatch, zone_moves
from scheduling.announcements import announce_completed
from scheduling.models import ScheduledExecution
from scheduling.verification import Verification
from scheduling.walks import ZoneMove
from tests.factories import make_command, make_organization, make_schedule, make_user
from tests.scheduling.schedules import NOON

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("time")]

URL = "http://127.0.0.1:9/callback"
BEGAN = NOON - timedelta(days=9)
# Nine o'clock.
IN_BERLIN = datetime(2026, 2, 26, 8, tzinfo=UTC)
IN_NEW_YORK = datetime(2026, 2, 25, 14, tzinfo=UTC)
IN_TOKYO = datetime(2026, 2, 26, tzinfo=UTC)


@pytest.fixture
def berlin(db: None) -> Organization:
    return make_organization(timezone="Europe/Berlin")


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_moves, "PORTION_SIZE", 2)
    monkeypatch.setattr(zone_moves, "MAX_SECONDS_AT_ONCE", 0.0)


def make_dailies(organization: Organization, count: int, **values: Any) -> list[ScheduledExecution]:
    command = make_command(organization, callback_url=URL)
    common = {"cron": "0 9 * * *", "execution_frequency": 0, "anchor_at": BEGAN, "effective_from": BEGAN}
    return [make_schedule(command, **common | {"next_run_at": IN_BERLIN} | values) for _ in range(count)]


def move(organization: Organization, zone: str) -> None:
    organization.timezone = zone
    organization.save(update_fields=["timezone"])


def count_at(instant: datetime) -> int:
    return ScheduledExecution.objects.filter(next_run_at=instant).count()


@pytest.fixture
def held() -> Iterator[Any]:
    """Returns a function that locks a row elsewhere until the test ends, or until its own result is called."""
    holders: list[tuple[threading.Thread, threading.Event]] = []

    def hold(schedule: ScheduledExecution) -> Any:
        locked, release = threading.Event(), threading.Event()

        def keep() -> None:
            try:
                with transaction.atomic():
                    ScheduledExecution.objects.select_for_update().get(pk=schedule.pk)
                    locked.set()
                    release.wait(20)
            finally:
                connection.close()

        holder = threading.Thread(target=keep)
        holder.start()
        holders.append((holder, release))
        assert locked.wait(10)

        def let_go() -> None:
            release.set()
            holder.join()

        return let_go

    yield hold
    for holder, release in holders:
        release.set()
        holder.join()


def test_thousands_of_schedules_move_in_portions(berlin: Organization, django_assert_max_num_queries: Any) -> None:
    command = make_command(berlin, callback_url=URL)
    prototype = make_dailies(berlin, 1)[0]
    schedules = [
        ScheduledExecution(
            organization=berlin, command=command, name="report", cron="0 9 * * *", anchor_at=BEGAN,
            effective_from=BEGAN, next_run_at=prototype.next_run_at,
        )
        for _ in range(5999)
    ]  # fmt: skip
    # A statement has 65,535 parameters at most.
    ScheduledExecution.objects.bulk_create(schedules, batch_size=1000)

    move(berlin, "America/New_York")
    passes = 0
    with django_assert_max_num_queries(250):
        while zone_moves.follow():
            passes += 1

    assert count_at(IN_NEW_YORK) == 6000
    assert passes <= 13


@pytest.mark.usefixtures("small_portions")
def test_a_portion_is_one_transaction_and_the_next_one_continues_from_there(berlin: Organization) -> None:
    make_dailies(berlin, 5)
    move(berlin, "America/New_York")

    assert [zone_moves.follow() for _ in range(4)] == [2, 2, 1, 0]

    assert count_at(IN_NEW_YORK) == 5


def test_a_second_walk_finds_next_runs_stored_by_requests_that_read_the_old_zone(
    berlin: Organization, time: list[datetime]
) -> None:
    make_dailies(berlin, 1)
    move(berlin, "America/New_York")
    assert zone_moves.follow() == 1
    # A request that read the organization before the move stores this next run.
    ScheduledExecution.objects.update(next_run_at=IN_BERLIN, effective_from=NOON + timedelta(seconds=1))

    time[0] += timedelta(seconds=59)
    assert zone_moves.follow() == 0
    time[0] += timedelta(seconds=1)
    assert zone_moves.follow() == 1

    assert count_at(IN_NEW_YORK) == 1
    assert not ZoneMove.objects.exists()


@pytest.mark.usefixtures("small_portions")
def test_another_move_during_the_walk_moves_every_schedule(berlin: Organization, time: list[datetime]) -> None:
    make_dailies(berlin, 5)
    move(berlin, "America/New_York")
    assert zone_moves.follow() == 2

    time[0] += timedelta(seconds=1)
    move(berlin, "Asia/Tokyo")
    while zone_moves.follow() or ZoneMove.objects.filter(look_at__lte=time[0]).exists():
        pass

    assert count_at(IN_TOKYO) == 5
    assert ZoneMove.objects.count() == 1


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("reached", [0, 1], ids=["before the walk", "in the middle of the walk"])
def test_no_slot_is_lost_in_a_zone_that_was_left_before_its_walk(
    berlin: Organization, time: list[datetime], reached: int
) -> None:
    """Nine o'clock in New York comes between the two moves."""
    schedules = make_dailies(berlin, 5)
    time[0] = IN_NEW_YORK - timedelta(seconds=5)
    move(berlin, "America/New_York")
    for _ in range(reached):
        assert zone_moves.follow() == 2
    time[0] = IN_NEW_YORK + timedelta(seconds=5)
    move(berlin, "Asia/Tokyo")
    for _ in range(20):
        zone_moves.follow()
        dispatch.dispatch_due()
        time[0] += timedelta(seconds=1)

    assert [[row.due_at for row in schedule.slots()] for schedule in schedules] == [[IN_NEW_YORK]] * 5
    assert count_at(IN_TOKYO) == 5
    for schedule in ScheduledExecution.objects.all():
        assert list(Verification(schedule).differences()) == []
    assert ZoneMove.objects.count() == 1


def test_no_slot_is_lost_while_a_user_has_the_zone_of_the_organization(
    berlin: Organization, time: list[datetime]
) -> None:
    user = make_user(berlin, timezone="America/New_York")
    (schedule,) = make_dailies(berlin, 1, owner=user, timezone_type="user_timezone", next_run_at=IN_NEW_YORK)
    time[0] = IN_BERLIN - timedelta(seconds=5)
    ScheduledExecution.objects.update(next_run_at=IN_BERLIN + timedelta(hours=6))
    user.timezone = ""
    user.save()
    time[0] = IN_BERLIN + timedelta(seconds=5)
    user.timezone = "Asia/Tokyo"
    user.save()

    zone_moves.follow()
    dispatch.dispatch_due()

    assert [row.due_at for row in schedule.slots()] == [IN_BERLIN]


@pytest.mark.parametrize(
    "values", [{"is_active": False, "deactivation_reason": "paused"}, {"effective_from": IN_NEW_YORK}, {"cron": "bad"}]
)
def test_other_schedules_get_no_slot_in_a_zone_that_was_left(
    berlin: Organization, time: list[datetime], values: dict[str, Any]
) -> None:
    """A schedule is paused, has a new timing since then, or is invalid."""
    make_dailies(berlin, 1, **values)
    time[0] = IN_NEW_YORK - timedelta(seconds=5)
    move(berlin, "America/New_York")
    time[0] = IN_NEW_YORK + timedelta(seconds=5)
    move(berlin, "Asia/Tokyo")

    zone_moves.follow()

    assert count_at(IN_NEW_YORK) == 0


def test_a_move_there_and_back_leaves_the_next_runs_where_they_were(berlin: Organization, time: list[datetime]) -> None:
    make_dailies(berlin, 3)
    move(berlin, "America/New_York")
    move(berlin, "Europe/Berlin")

    while ZoneMove.objects.filter(look_at__lte=time[0]).exists():
        zone_moves.follow()

    assert count_at(IN_BERLIN) == 3


def test_the_walk_for_a_user_touches_only_their_schedules(berlin: Organization) -> None:
    user, other = make_user(berlin), make_user(berlin)
    (own,) = make_dailies(berlin, 1, owner=user, timezone_type="user_timezone")
    make_dailies(berlin, 2, owner=other, timezone_type="user_timezone")
    make_dailies(berlin, 1, owner=user)

    user.timezone = "America/New_York"
    user.save()
    assert zone_moves.follow() == 1

    own.refresh_from_db()
    assert own.next_run_at == IN_NEW_YORK
    assert count_at(IN_BERLIN) == 3


def test_an_invalid_schedule_does_not_stop_the_walk(berlin: Organization, time: list[datetime]) -> None:
    user = make_user(berlin)
    make_dailies(berlin, 1, cron="nonsense")
    make_dailies(berlin, 2)

    move(berlin, "America/New_York")
    assert zone_moves.follow() == 2
    time[0] += ZoneMove.OVERLAP
    zone_moves.follow()

    assert not ZoneMove.objects.exists()
    assert user.organization == berlin


@pytest.mark.django_db(transaction=True)
def test_a_locked_row_is_left_and_found_again(berlin: Organization, time: list[datetime], held: Any) -> None:
    schedules = make_dailies(berlin, 3)
    let_go = held(schedules[1])
    move(berlin, "America/New_York")

    assert zone_moves.follow() == 2
    assert ZoneMove.objects.get().held == 1
    let_go()
    time[0] += timedelta(seconds=2)
    assert zone_moves.follow() == 1

    assert count_at(IN_NEW_YORK) == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_portions")
def test_the_walk_continues_where_it_was_after_a_crash(berlin: Organization) -> None:
    schedules = make_dailies(berlin, 7)
    move(berlin, "America/New_York")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER crash BEFORE UPDATE ON scheduling_scheduledexecution FOR EACH ROW "
            f"WHEN (OLD.id = {schedules[4].pk}) EXECUTE FUNCTION crash()"
        )
    assert [zone_moves.follow(), zone_moves.follow()] == [2, 2]

    with pytest.raises(Error):
        zone_moves.follow()
    connection.close()

    assert count_at(IN_NEW_YORK) == 4
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER crash ON scheduling_scheduledexecution; DROP FUNCTION crash")
    assert [zone_moves.follow(), zone_moves.follow()] == [2, 1]
    assert count_at(IN_NEW_YORK) == 7


@pytest.mark.django_db(transaction=True)
def test_the_dispatcher_continues_while_a_portion_is_being_moved(
    berlin: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dailies(berlin, 2)
    (due,) = make_dailies(make_organization(), 1, next_run_at=NOON)
    move(berlin, "America/New_York")
    walking, release = threading.Event(), threading.Event()

    def pause(*args: Any) -> None:
        walking.set()
        release.wait(20)
        announce_completed(*args)

    monkeypatch.setattr("scheduling.recompute.announce_completed", pause)

    def walk() -> None:
        try:
            zone_moves.follow()
        finally:
            connection.close()

    walker = threading.Thread(target=walk)
    walker.start()
    assert walking.wait(10)
    move(berlin, "Asia/Tokyo")
    assert dispatch.dispatch_due() == 1
    assert walker.is_alive()
    release.set()
    walker.join()

    assert due.slots().count() == 1
