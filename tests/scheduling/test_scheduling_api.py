"""`/v1/platform/scheduling/` over HTTP, as the contract's section 2 has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from commands_platform.lib import clock
from commands_platform.lib.errors import NotFoundError
from deliveries.models import Delivery, Reason, State
from scheduling import dispatch, services
from scheduling.models import ScheduledExecution
from scheduling.serializers import EXPANSIONS
from tests.api import ApiClient, Caller, make_caller
from tests.factories import (
    make_api_key,
    make_command,
    make_delivery,
    make_organization,
    make_schedule,
    make_token,
    make_user,
)
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_PATH_SEGMENTS, HOSTILE_QUERIES

pytestmark = pytest.mark.django_db

LIST = "/v1/platform/scheduling/"
KEYS = [
    "uuid", "name", "timezone_type", "is_active", "cron", "execution_frequency", "repeats", "payload", "callback_url",
]  # fmt: skip
NOW = datetime(2026, 2, 25, 12, 0, 0, 250_000, tzinfo=UTC)
URL = "http://127.0.0.1:8099/callback"
ABSENT = "8f2e6a38-53c1-4f3c-9a51-0d6f4b6a1c11"


@pytest.fixture
def alice(db: None) -> ApiClient:
    return ApiClient(make_caller(callback_url=URL))


def create(client: ApiClient, **body: Any) -> str:
    response = client.post(LIST, {"name": "report", **body})
    assert response.status_code == 200, response.content
    assert list(response.json()) == ["uuid"]
    return str(response.json()["uuid"])


def detail(uuid: str) -> str:
    return f"{LIST}{uuid}/"


def stored(uuid: str) -> ScheduledExecution:
    return ScheduledExecution.objects.get(uuid=uuid)


def test_a_schedule_has_exactly_the_nine_documented_keys_and_their_defaults(alice: ApiClient) -> None:
    uuid = create(alice)

    response = alice.get(detail(uuid))

    assert response.status_code == 200
    assert list(response.json()) == KEYS
    assert response.json() == {
        "uuid": uuid,
        "name": "report",
        "timezone_type": "organization_timezone",
        "is_active": True,
        "cron": None,
        "execution_frequency": 0,
        "repeats": -1,
        "payload": {},
        "callback_url": URL,
    }


def test_unknown_fields_are_ignored(alice: ApiClient) -> None:
    create(alice, colour="green", nested={"a": 1})


def test_the_payload_comes_back_to_the_letter(alice: ApiClient) -> None:
    payload = {"b": [1.0, 2, -0.0, 1e300], "a": {"é": None, "z": True}, "big": 2**63}

    uuid = create(alice, payload=payload)

    assert (
        b'"payload":{"b":[1.0,2,-0.0,1e+300],"a":{"\xc3\xa9":null,"z":true},"big":9223372036854775808}'
        in alice.get(detail(uuid)).content
    )


def test_the_path_works_without_its_slash_for_every_method(alice: ApiClient) -> None:
    response = alice.post(LIST[:-1], {"name": "report"})
    uuid = response.json()["uuid"]
    path = detail(uuid)[:-1]

    assert response.status_code == 200
    assert alice.get(path).status_code == 200
    assert alice.put(path, {"name": "other"}).json()["name"] == "other"
    assert alice.patch(path, {"name": "third"}).json()["name"] == "third"
    assert alice.delete(path).status_code == 204


def test_a_command_uuid_does_where_there_is_no_token(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report", "command_uuid": str(alice.caller.command.uuid)}, token=None)

    schedule = stored(response.json()["uuid"])
    assert (schedule.command, schedule.owner) == (alice.caller.command, None)


def test_with_neither_token_nor_command_it_says_so(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report"}, token=None)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "You should specify an exchange token or valid command",
        "code": "missing_token_or_command",
    }


def test_a_command_of_another_organization_is_not_valid(alice: ApiClient, mallory: ApiClient) -> None:
    for uuid in (mallory.caller.command.uuid, uuid4()):
        response = alice.post(LIST, {"name": "report", "command_uuid": str(uuid)}, token=None)

        assert response.status_code == 400
        assert response.json() == {
            "detail": "Command is not valid. It must be owned by the same API Key organization owner",
            "code": "invalid_command_specified",
        }


def test_it_belongs_to_the_tokens_user_unless_told_otherwise(alice: ApiClient) -> None:
    assert stored(create(alice)).owner == alice.caller.user
    assert stored(create(alice, is_owned_by_user=False)).owner is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "x\u0007"}, "name"),
        ({"name": "x", "cron": "* * * *"}, "cron"),
        ({"name": "x", "cron": "61 * * * *"}, "cron"),
        ({"name": "x", "cron": "0 0 30 2 *"}, "cron"),
        ({"name": "x", "cron": 5}, "cron"),
        ({"name": "x", "cron": "*/0 * * * *"}, "cron"),
        ({"name": "x", "execution_frequency": -1}, "execution_frequency"),
        ({"name": "x", "execution_frequency": "60"}, "execution_frequency"),
        ({"name": "x", "execution_frequency": 1.5}, "execution_frequency"),
        ({"name": "x", "execution_frequency": True}, "execution_frequency"),
        ({"name": "x", "execution_frequency": 400_000_000}, "execution_frequency"),
        ({"name": "x", "execution_frequency": 2**63}, "execution_frequency"),
        ({"name": "x", "repeats": 0}, "repeats"),
        ({"name": "x", "repeats": -2}, "repeats"),
        ({"name": "x", "repeats": 2**40}, "repeats"),
        ({"name": "x", "payload": []}, "payload"),
        ({"name": "x", "payload": "{}"}, "payload"),
        ({"name": "x", "payload": {"a": "x" * 300_000}}, "payload"),
        ({"name": "x", "timezone_type": "mars"}, "timezone_type"),
        ({"name": "x", "timezone_type": "custom_timezone"}, "timezone"),
        ({"name": "x", "timezone_type": "custom_timezone", "timezone": "Mars/Olympus"}, "timezone"),
        ({"name": "x", "timezone_type": "custom_timezone", "timezone": "localtime"}, "timezone"),
        ({"name": "x", "timezone": "../../etc/passwd"}, "timezone"),
        ({"name": "x", "timezone_type": "user_timezone", "is_owned_by_user": False}, "timezone_type"),
        ({"name": "x", "is_owned_by_user": "yes"}, "is_owned_by_user"),
        ({"name": "x", "command_uuid": "nonsense"}, "command_uuid"),
        ({"name": "x", "callback_url": "ftp://example.com/"}, "callback_url"),
        ({"name": "x", "callback_url": "http://10.0.0.1/"}, "callback_url"),
        ({"name": "x", "callback_url": "http://169.254.169.254/latest/"}, "callback_url"),
        ({"name": "x", "is_active": 1}, "is_active"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named(alice: ApiClient, body: dict[str, Any], field: str) -> None:
    response = alice.post(LIST, body)

    assert response.status_code == 400
    answer = response.json()
    assert answer["code"] == "params_validation_error"
    assert list(answer["errors"]) == [field]
    assert answer["detail"] == answer["errors"][field][0]
    assert not ScheduledExecution.objects.exists()


def test_every_wrong_field_is_named_at_once(alice: ApiClient) -> None:
    answer = alice.post(LIST, {"name": "x", "cron": "nonsense", "timezone": "Mars/Olympus"}).json()

    assert set(answer["errors"]) == {"cron", "timezone"}


def test_the_first_run_of_a_period_is_one_period_after_creation_on_a_whole_second(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        schedule = stored(create(alice, execution_frequency=60))

    assert schedule.next_run_at == datetime(2026, 2, 25, 12, 1, 1, tzinfo=UTC)


def test_the_frequency_may_be_counted_in_minutes(alice: ApiClient, settings: Any) -> None:
    settings.FREQUENCY_UNIT = timedelta(minutes=1)
    with clock.replaced_by(lambda: NOW):
        schedule = stored(create(alice, execution_frequency=5))

    assert schedule.next_run_at == datetime(2026, 2, 25, 12, 5, 1, tzinfo=UTC)


def test_cron_wins_over_the_frequency(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        schedule = stored(create(alice, execution_frequency=60, cron="0 15 * * *"))

    assert schedule.next_run_at == datetime(2026, 2, 25, 15, 0, tzinfo=UTC)


def test_with_neither_it_is_due_at_once(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        assert stored(create(alice)).next_run_at == NOW


@pytest.mark.parametrize(
    ("body", "expected_hour"),
    [
        ({}, 14),
        ({"timezone_type": "user_timezone"}, 8),
        ({"timezone_type": "custom_timezone", "timezone": "Asia/Tokyo"}, 0),
    ],
)
def test_a_cron_expression_is_read_in_its_zone(body: dict[str, Any], expected_hour: int) -> None:
    organization = make_organization(timezone="America/New_York")
    client = ApiClient(make_caller(organization))
    client.caller.user.timezone = "Europe/Berlin"
    client.caller.user.save(update_fields=["timezone"])

    schedule = stored(create(client, cron="0 9 * * *", **body))

    assert schedule.next_run_at is not None
    assert schedule.next_run_at.hour == expected_hour


def test_a_user_who_moves_moves_their_schedules(alice: ApiClient) -> None:
    alice.caller.user.timezone = "Europe/Berlin"
    alice.caller.user.save(update_fields=["timezone"])
    with clock.replaced_by(lambda: NOW):
        uuid = create(alice, cron="0 9 * * *", timezone_type="user_timezone")
        assert stored(uuid).next_run_at == datetime(2026, 2, 26, 8, tzinfo=UTC)

        alice.caller.user.timezone = "America/New_York"
        alice.caller.user.save(update_fields=["timezone"])

        assert stored(uuid).next_run_at == datetime(2026, 2, 25, 14, tzinfo=UTC)


def test_an_organization_that_moves_moves_its_schedules_and_its_users_without_a_zone(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        uuids = [create(alice, cron="0 9 * * *"), create(alice, cron="0 9 * * *", timezone_type="user_timezone")]

        alice.caller.organization.timezone = "America/New_York"
        alice.caller.organization.save(update_fields=["timezone"])

        for uuid in uuids:
            assert stored(uuid).next_run_at == datetime(2026, 2, 25, 14, tzinfo=UTC)


def test_without_any_callback_url_it_can_still_be_created(alice: ApiClient) -> None:
    alice.caller.command.callback_url = ""
    alice.caller.command.save(update_fields=["callback_url"])

    uuid = create(alice)

    assert alice.get(detail(uuid)).json()["callback_url"] is None


def test_put_changes_what_it_is_given_and_answers_the_nine_keys(alice: ApiClient) -> None:
    uuid = create(alice, execution_frequency=60, repeats=3, payload={"a": 1})

    response = alice.put(
        detail(uuid), {"name": "other", "payload": {"b": 2}, "callback_url": "http://127.0.0.1:8099/x"}
    )

    assert response.status_code == 200
    assert list(response.json()) == KEYS
    assert response.json() == {
        "uuid": uuid,
        "name": "other",
        "timezone_type": "organization_timezone",
        "is_active": True,
        "cron": None,
        "execution_frequency": 60,
        "repeats": 3,
        "payload": {"b": 2},
        "callback_url": "http://127.0.0.1:8099/x",
    }


def test_what_get_answers_can_be_put_back_unchanged(alice: ApiClient) -> None:
    uuid = create(alice, cron="0 9 * * *")
    shown = alice.get(detail(uuid)).json()
    before = stored(uuid)
    pending = make_delivery(alice.caller.command, source_uuid=before.uuid)

    response = alice.put(detail(uuid), shown)

    after = stored(uuid)
    pending.refresh_from_db()
    assert response.json() == shown
    assert (after.next_run_at, after.callback_url, after.anchor_at) == (before.next_run_at, "", before.anchor_at)
    assert pending.state == State.PENDING


def test_put_checks_as_post_does_and_changes_nothing_then(alice: ApiClient) -> None:
    uuid = create(alice, cron="0 9 * * *")

    response = alice.put(detail(uuid), {"name": "other", "cron": "61 * * * *"})

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"
    assert stored(uuid).name == "report"


NULL_IS_ABSENT = dict.fromkeys(
    (
        "payload", "repeats", "execution_frequency", "timezone_type", "is_active", "is_owned_by_user", "headers",
        "cron_seconds", "dst_gap", "dst_overlap", "misfire_policy", "misfire_grace", "skip_overlapping",
    )
)  # fmt: skip
NULL_IS_NONE = dict.fromkeys(
    (
        "command_uuid", "cron", "timezone", "callback_url", "description", "starts_at", "ends_at", "timeout",
        "max_attempts",
    )
)  # fmt: skip


def test_every_optional_field_may_be_null_on_creation_and_has_its_default_then(alice: ApiClient) -> None:
    plain = create(alice)
    nulls = create(alice, **NULL_IS_ABSENT, **NULL_IS_NONE)

    names = ["user_uuid", *(name for name in EXPANSIONS if name in NULL_IS_ABSENT | NULL_IS_NONE)]
    expand = "?expand=" + ",".join(names)
    assert alice.get(detail(nulls) + expand).json() == alice.get(detail(plain) + expand).json() | {"uuid": nulls}


def test_null_changes_nothing_where_there_is_no_such_value(alice: ApiClient) -> None:
    uuid = create(
        alice, execution_frequency=60, repeats=5, payload={"a": 1}, timezone_type="user_timezone", is_active=False,
        headers={"X-A": "1"}, dst_gap="skip", dst_overlap="both", misfire_policy="skip", misfire_grace=9,
        skip_overlapping=True, description="kept",
    )  # fmt: skip
    before = ScheduledExecution.objects.values().get()

    response = alice.put(detail(uuid), NULL_IS_ABSENT)

    assert response.status_code == 200
    assert ScheduledExecution.objects.values().get() | {"updated_at": None} == before | {"updated_at": None}


def test_a_name_that_is_null_is_refused_on_a_change_too(alice: ApiClient) -> None:
    uuid = create(alice)

    response = alice.put(detail(uuid), {"name": None})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["name"]


def test_a_new_timing_begins_a_new_phase(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        uuid = create(alice, execution_frequency=3600)
    later = NOW + timedelta(minutes=10)

    with clock.replaced_by(lambda: later):
        alice.put(detail(uuid), {"execution_frequency": 60})

    assert stored(uuid).next_run_at == datetime(2026, 2, 25, 12, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"is_active": False}, State.CANCELLED, Reason.SCHEDULE_PAUSED),
        ({"payload": {"new": 1}}, State.CANCELLED, Reason.SCHEDULE_CHANGED),
        ({"execution_frequency": 5}, State.CANCELLED, Reason.SCHEDULE_CHANGED),
        ({"callback_url": "http://127.0.0.1:8099/x"}, State.CANCELLED, Reason.SCHEDULE_CHANGED),
        ({"name": "other"}, State.PENDING, ""),
        ({"repeats": 7}, State.PENDING, ""),
    ],
)
def test_a_change_cancels_what_has_not_been_sent(
    alice: ApiClient, changes: dict[str, Any], state: State, reason: str
) -> None:
    uuid = create(alice, execution_frequency=60)
    pending = make_delivery(alice.caller.command, source_uuid=stored(uuid).uuid)

    alice.put(detail(uuid), changes)

    pending.refresh_from_db()
    assert (pending.state, pending.reason) == (state, reason)


def test_deleting_cancels_what_has_not_been_sent_and_keeps_the_ledger(alice: ApiClient) -> None:
    uuid = create(alice, execution_frequency=60)
    pending = make_delivery(alice.caller.command, source_uuid=stored(uuid).uuid)

    response = alice.delete(detail(uuid))

    assert (response.status_code, response.content) == (204, b"")
    assert alice.get(detail(uuid)).status_code == 404
    pending.refresh_from_db()
    assert (pending.state, pending.reason) == (State.CANCELLED, Reason.SCHEDULE_DELETED)


def test_a_resumed_schedule_keeps_its_phase_and_the_pause_is_recorded(alice: ApiClient) -> None:
    start = NOW.replace(microsecond=0)
    with clock.replaced_by(lambda: start):
        uuid = create(alice, execution_frequency=60)
        alice.put(detail(uuid), {"is_active": False})

    with clock.replaced_by(lambda: start + timedelta(minutes=10, seconds=30)):
        alice.put(detail(uuid), {"is_active": True})

    schedule = stored(uuid)
    (row,) = Delivery.objects.of_source(schedule.uuid)
    assert schedule.next_run_at == start + timedelta(minutes=11)
    assert (row.state, row.reason, row.slot_count) == (State.SKIPPED, Reason.PAUSED, 10)
    assert (row.due_at, row.last_due_at) == (start + timedelta(minutes=1), start + timedelta(minutes=10))


def test_a_one_off_that_was_paused_runs_when_it_is_resumed(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        uuid = create(alice, is_active=False)
    later = NOW + timedelta(hours=1)

    with clock.replaced_by(lambda: later):
        assert dispatch.dispatch_due() == 0
        alice.put(detail(uuid), {"is_active": True})
        dispatch.dispatch_due()

    (row,) = Delivery.objects.of_source(stored(uuid).uuid)
    assert row.state == State.PENDING
    assert stored(uuid).is_active is False


def test_a_completed_schedule_runs_again_with_new_repeats_only(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        uuid = create(alice, execution_frequency=60, repeats=1)
    with clock.replaced_by(lambda: NOW + timedelta(minutes=2)):
        dispatch.dispatch_due()
        assert alice.get(detail(uuid)).json()["is_active"] is False
        refused = alice.put(detail(uuid), {"is_active": True})
        accepted = alice.put(detail(uuid), {"is_active": True, "repeats": 2})

    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["is_active"])
    assert accepted.json()["is_active"] is True
    schedule = stored(uuid)
    assert schedule.next_run_at is not None
    assert schedule.next_run_at > NOW + timedelta(minutes=2)


def test_more_is_told_on_request(alice: ApiClient) -> None:
    uuid = create(alice, execution_frequency=60)
    make_delivery(alice.caller.command, source_uuid=stored(uuid).uuid)

    answer = alice.get(detail(uuid) + "?expand=next_run_at,last_delivery").json()

    assert list(answer) == [*KEYS, "next_run_at", "last_delivery"]
    assert answer["next_run_at"].endswith("Z")
    assert answer["last_delivery"]["state"] == "pending"


@pytest.mark.parametrize("schedules", [0, 1])
def test_an_unknown_expansion_is_refused_whether_there_is_a_schedule_or_none(alice: ApiClient, schedules: int) -> None:
    uuids = [create(alice) for _ in range(schedules)]

    responses = [alice.get(path + "?expand=next_run_at,secret") for path in (LIST, *map(detail, uuids))]

    for response in responses:
        assert response.status_code == 400
        assert response.json()["errors"] == {"expand": ["'secret' cannot be expanded."]}


def test_the_list_shows_the_callers_schedules_newest_first(alice: ApiClient, mallory: ApiClient) -> None:
    uuids = [create(alice) for _ in range(3)]
    create(mallory)

    answer = alice.get(LIST + "?limit=2").json()

    assert answer["count"] == 3
    assert [each["uuid"] for each in answer["results"]] == uuids[:0:-1]
    assert "offset=2" in answer["next"]


def test_the_list_costs_the_same_for_one_and_for_many(alice: ApiClient, django_assert_max_num_queries: Any) -> None:
    for _ in range(10):
        create(alice)

    with django_assert_max_num_queries(5):
        alice.get(LIST)


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_a_stranger_sees_none(alice: ApiClient, mallory: ApiClient, method: str) -> None:
    uuid = create(alice)

    response = getattr(mallory, method)(detail(uuid))

    assert response.status_code == 404
    assert response.json() == {"detail": "Not found.", "code": "not_found"}
    assert stored(uuid)


@pytest.mark.parametrize("uuid", ["nonsense", "0", ABSENT, f"{{{ABSENT}}}"])
def test_what_is_not_there_is_not_found(alice: ApiClient, uuid: str) -> None:
    assert alice.get(detail(uuid)).json() == {"detail": "Not found.", "code": "not_found"}


def test_a_public_command_never_reads_what_another_owners_users_scheduled(alice: ApiClient) -> None:
    """Two public commands of different organizations serve the same user: each sees its own schedules only."""
    user = make_user(make_organization())
    callers = []
    for _ in range(2):
        command = make_command(is_public=True)
        row, key = make_api_key(command=command)
        callers.append(ApiClient(Caller(user.organization, command, user, row, key, make_token(command, user))))
    first, second = callers
    uuid = create(first)

    assert first.get(detail(uuid)).status_code == 200
    assert second.get(detail(uuid)).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("POST", LIST), ("GET", LIST), ("GET", detail(ABSENT))])
def test_without_a_key_nothing_is_answered(alice: ApiClient, method: str, path: str) -> None:
    response = alice.request(method, path, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}
    assert response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_one_schedule_needs_a_token(alice: ApiClient, method: str) -> None:
    uuid = create(alice)

    response = getattr(alice, method)(detail(uuid), token=None)

    assert response.status_code == 400
    assert response.json() == {"detail": "You should specify a valid exchange token", "code": "missing_token"}


def test_a_key_without_the_scope_is_refused(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("STORAGE"))

    response = client.post(LIST, {"name": "report"})

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_another_method_is_not_allowed(alice: ApiClient) -> None:
    response = alice.put(LIST, {})

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_gets_a_clear_error(alice: ApiClient, name: str) -> None:
    uuid = create(alice)

    for method, path in (("POST", LIST), ("PUT", detail(uuid))):
        response = alice.request(method, path, raw=HOSTILE_BODIES[name])

        assert response.status_code < 500
        assert set(response.json()) >= {"detail", "code"} or response.status_code == 200


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_a_hostile_query_gets_a_clear_answer(alice: ApiClient, query: str) -> None:
    uuid = create(alice)

    for path in (LIST, detail(uuid)):
        assert alice.get(f"{path}?{query}").status_code < 500


@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_a_hostile_path_gets_a_clear_answer(alice: ApiClient, segment: str) -> None:
    response = alice.get(f"{LIST}{segment}/")

    assert response.status_code in {400, 404}
    assert "detail" in response.json()


def test_two_changes_at_once_are_made_one_after_the_other(alice: ApiClient) -> None:
    schedule = make_schedule(alice.caller.command)

    alice.put(detail(str(schedule.uuid)), {"name": "first"})
    alice.put(detail(str(schedule.uuid)), {"repeats": 5})

    schedule.refresh_from_db()
    assert (schedule.name, schedule.repeats) == ("first", 5)


def test_what_is_due_when_somebody_moves_is_left_to_the_dispatcher(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: NOW):
        uuid = create(alice, cron="*/5 * * * *")
    due = stored(uuid).next_run_at
    later = NOW + timedelta(minutes=7)

    with clock.replaced_by(lambda: later):
        alice.caller.organization.timezone = "America/New_York"
        alice.caller.organization.save(update_fields=["timezone"])
        assert stored(uuid).next_run_at == due
        dispatch.dispatch_due()

    assert [row.due_at for row in Delivery.objects.of_source(stored(uuid).uuid)] == [due]


@pytest.mark.parametrize("change", [services.delete_scheduled_execution, services.run_now, services.pause])
def test_a_schedule_that_somebody_else_has_just_deleted_is_not_found(alice: ApiClient, change: Any) -> None:
    schedule = stored(create(alice))
    services.delete_scheduled_execution(schedule=schedule)

    with pytest.raises(NotFoundError):
        change(schedule=schedule)
