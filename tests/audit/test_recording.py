"""Changes through the API, in the admin, on the command line and by the platform itself are recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.response import Response

from audit.actors import current_actor
from audit.kinds import ActorKind, Verb
from audit.models import Change
from audit.services import recording_its_insert
from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from events.models import Hook
from installations.ending import end_removed
from organizations import services as organization_services
from organizations.models import Command, Installation, Organization
from scheduling.calendars import Calendar
from scheduling.failures import deactivate_locked
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.admin import HEADER_SECRET, act, command_data, confirm, make_operator, page, page_of
from tests.api import ApiClient
from tests.audit.changes import changes_of, last_change_of
from tests.factories import make_api_key, make_command, make_installation, make_organization, make_schedule, make_user
from tests.production_files import ROOT

pytestmark = pytest.mark.django_db


class BrokenView(PlatformView):
    def get(self, request: ApiRequest) -> Response:
        raise ZeroDivisionError(current_actor().kind)


SCHEDULING = "/v1/platform/scheduling/"
INSTALLATIONS = "/v1/platform/installations/"
SUBSCRIPTION = "/v1/platform/event-subscription/"


def create_schedule(client: ApiClient, **values: Any) -> ScheduledExecution:
    response = client.post(SCHEDULING, {"name": "report", "cron": "0 9 * * *", **values})
    assert response.status_code == 200, response.content
    return ScheduledExecution.objects.get(uuid=response.json()["uuid"])


def facts(change: Change) -> tuple[str, str, str]:
    return change.verb, change.object_kind, change.object_name


def test_a_change_through_the_api_names_the_key_and_the_address(alice: ApiClient) -> None:
    response = alice.post(
        SCHEDULING, {"name": "report", "cron": "0 9 * * *"}, headers={"X-Correlation-Id": "deploy-17"}
    )

    schedule = ScheduledExecution.objects.get(uuid=response.json()["uuid"])
    change = last_change_of(schedule)
    assert change.correlation_id == "deploy-17"
    assert facts(change) == ("created", "schedule", "report")
    assert change.organization == alice.caller.organization
    assert (change.actor_kind, change.actor_uuid) == (ActorKind.API_KEY, alice.caller.api_key.uuid)
    assert change.actor_name == str(alice.caller.api_key)
    assert change.actor_address == "127.0.0.1"
    assert abs(clock.now() - change.recorded_at) < timedelta(minutes=1)


def test_the_actor_of_a_request_is_forgotten_after_it(alice: ApiClient) -> None:
    create_schedule(alice)
    assert current_actor().kind == ActorKind.PLATFORM

    assert alice.get("/v1/platform/scheduling/none/").status_code == 404
    assert current_actor().kind == ActorKind.PLATFORM


def test_a_creation_shows_what_was_given_and_no_defaults(alice: ApiClient) -> None:
    change = last_change_of(create_schedule(alice))

    assert change.old == {}
    assert {key: change.new[key] for key in ("name", "cron", "command", "owner")} == {
        "name": "report",
        "cron": "0 9 * * *",
        "command": str(alice.caller.command.uuid),
        "owner": str(alice.caller.user.uuid),
    }
    assert "repeats" not in change.new
    assert "is_active" not in change.new


def test_a_change_shows_the_old_and_new_values_of_what_differs(alice: ApiClient) -> None:
    schedule = create_schedule(alice)

    alice.patch(f"{SCHEDULING}{schedule.uuid}/", {"name": "weekly report", "cron": "0 9 * * *", "is_active": False})

    change = last_change_of(schedule)
    assert facts(change) == ("changed", "schedule", "weekly report")
    assert change.old == {"name": "report", "is_active": True, "deactivation_reason": ""}
    assert change.new == {"name": "weekly report", "is_active": False, "deactivation_reason": "paused"}


def test_a_change_without_an_effect_is_not_recorded(alice: ApiClient) -> None:
    schedule = create_schedule(alice)

    assert alice.patch(f"{SCHEDULING}{schedule.uuid}/", {"name": "report"}).status_code == 200

    assert [change.verb for change in changes_of(schedule)] == ["created"]


def test_a_refused_change_is_not_recorded(alice: ApiClient) -> None:
    schedule = create_schedule(alice)

    assert alice.patch(f"{SCHEDULING}{schedule.uuid}/", {"cron": "nonsense"}).status_code == 400
    assert alice.post(SCHEDULING, {"name": "report", "cron": "nonsense"}).status_code == 400

    assert [change.verb for change in Change.objects.filter(object_kind="schedule")] == ["created"]


def test_a_deletion_shows_what_was_deleted(alice: ApiClient) -> None:
    schedule = create_schedule(alice)

    alice.delete(f"{SCHEDULING}{schedule.uuid}/")

    change = last_change_of(schedule)
    assert facts(change) == ("deleted", "schedule", "report")
    assert (change.old["cron"], change.new) == ("0 9 * * *", {})


def test_secrets_of_a_schedule_are_only_fingerprints(alice: ApiClient) -> None:
    url = "http://127.0.0.1:9000/hooks/T0PS3CR3T?key=T0PS3CR3T"
    schedule = create_schedule(
        alice, callback_url=url, headers={"Authorization": HEADER_SECRET}, payload={"password": "T0PS3CR3T"}
    )
    created = last_change_of(schedule)
    alice.patch(f"{SCHEDULING}{schedule.uuid}/", {"headers": {"Authorization": "Bearer another"}})
    changed = last_change_of(schedule)

    assert created.new["callback_url"]["origin"] == "http://127.0.0.1:9000"
    assert created.new["payload"]["bytes"] == len('{"password":"T0PS3CR3T"}')
    assert changed.old["headers"]["Authorization"] != changed.new["headers"]["Authorization"]
    stored = str([list(row) for row in Change.objects.values_list("old", "new")])
    assert "T0PS3CR3T" not in stored
    assert "receivers-own-secret" not in stored
    assert "another" not in stored


def test_hooks_are_recorded(alice: ApiClient) -> None:
    number = alice.post(SUBSCRIPTION, {"subscriptions": ["kudos.*"]}).json()["hook_uuid"]
    hook = Hook.objects.get(pk=number)
    alice.post(SUBSCRIPTION, {"subscriptions": ["forms.*"]})
    alice.post(SUBSCRIPTION, {"subscriptions": ["forms.*"]})
    alice.delete(SUBSCRIPTION)

    created, changed, deleted = changes_of(hook)
    assert facts(created) == ("created", "hook", f"hook {number}")
    assert created.new["subscriptions"] == ["kudos.*"]
    assert (changed.verb, changed.old, changed.new) == (
        "changed",
        {"subscriptions": ["kudos.*"]},
        {"subscriptions": ["forms.*"]},
    )
    assert (deleted.verb, deleted.old["user"]) == ("deleted", str(alice.caller.user.uuid))


def test_calendars_are_recorded(alice: ApiClient) -> None:
    path = f"{SCHEDULING}calendars/holidays/"
    alice.put(path, {"dates": ["2035-10-03"]})
    calendar = Calendar.objects.get()
    alice.put(path, {"dates": ["2035-12-25"]})
    alice.delete(path)

    created, changed, deleted = Change.objects.filter(object_kind="calendar").order_by("pk")
    assert facts(created) == ("created", "calendar", "holidays")
    assert (changed.old, changed.new) == ({"dates": '["2035-10-03"]'}, {"dates": '["2035-12-25"]'})
    assert (deleted.verb, deleted.object_uuid) == ("deleted", str(calendar.pk))


def test_installations_are_recorded(alice: ApiClient) -> None:
    command = make_command(is_public=True)
    key = make_api_key(alice.caller.organization, scopes=["MANAGE"])[1]
    how: dict[str, Any] = {"key": key, "token": None}

    made = alice.post(INSTALLATIONS, {"command_uuid": str(command.uuid)}, **how).json()
    alice.patch(f"{INSTALLATIONS}{made['uuid']}/", {"events": ["kudos.*"]}, **how)
    alice.delete(f"{INSTALLATIONS}{made['uuid']}/", **how)

    created, changed, deleted = changes_of(Installation.objects.get(uuid=made["uuid"]))
    assert (created.verb, created.new["command"]) == ("created", str(command.uuid))
    assert (changed.old, changed.new) == ({"events": ["*"]}, {"events": ["kudos.*"]})
    assert deleted.verb == "deleted"
    assert {each.organization_id for each in (created, changed, deleted)} == {alice.caller.organization.pk}


def test_schedules_and_hooks_that_housekeeping_ends_are_recorded_as_the_platforms_own(alice: ApiClient) -> None:
    installation = make_installation(make_command(is_public=True), alice.caller.organization)
    schedule = make_schedule(installation.command, organization=alice.caller.organization)
    hook = Hook.objects.create(
        organization=alice.caller.organization, command=installation.command, subscriptions=["kudos.*"]
    )
    Installation.objects.filter(pk=installation.pk).update(removed_at=clock.now())

    end_removed()

    ended, removed = last_change_of(schedule), last_change_of(hook)
    assert ended.new == {"is_active": False, "deactivation_reason": "uninstalled"}
    assert (removed.verb, removed.object_name) == ("deleted", f"hook {hook.pk}")
    assert {ended.actor_kind, removed.actor_kind} == {ActorKind.PLATFORM}


def test_a_schedule_that_the_platform_deactivates_is_recorded() -> None:
    schedule = make_schedule()

    with transaction.atomic():
        deactivate_locked(schedule, DeactivationReason.FAILING, clock.now())

    assert last_change_of(schedule).new == {"is_active": False, "deactivation_reason": "failing"}


def test_a_change_in_the_admin_names_the_login(client: Client) -> None:
    operator = make_operator(is_superuser=True)
    command = make_command()

    operator.post(page_of(command), command_data(command, name="renamed"))

    change = last_change_of(command)
    assert (change.old["name"], change.new["name"]) == (command.name, "renamed")
    assert change.actor_kind == ActorKind.OPERATOR
    assert change.actor_name.startswith("operator")
    assert (change.actor_address, change.actor_uuid) == ("127.0.0.1", None)


def test_rows_that_the_admin_adds_are_recorded() -> None:
    operator = make_operator(is_superuser=True)

    operator.post(page(Organization, "add"), {"name": "Acme", "timezone": "Europe/Berlin", "is_active": "on"})

    organization = Organization.objects.get(name="Acme")
    assert last_change_of(organization).new == {"name": "Acme", "timezone": "Europe/Berlin"}


def test_actions_of_the_admin_are_recorded() -> None:
    operator = make_operator(is_superuser=True)
    command, user, organization = make_command(), make_user(), make_organization()
    api_key, _ = make_api_key()
    schedule = make_schedule()

    for row, action, verb in (
        (command, "show_secrets", Verb.SECRETS_SHOWN),
        (command, "rotate_secret", Verb.SECRET_ROTATED),
        (command, "rotate_signature", Verb.SIGNATURE_ROTATED),
        (command, "revoke_tokens", Verb.TOKENS_REVOKED),
        (user, "revoke_tokens", Verb.TOKENS_REVOKED),
        (api_key, "revoke", Verb.REVOKED),
        (schedule, "pause", Verb.CHANGED),
    ):
        confirm(operator, row, action)
        assert last_change_of(row).verb == verb
    act(operator, "deactivate", organization)
    assert last_change_of(organization).new == {"is_active": False}
    command.refresh_from_db()
    stored = str(list(Change.objects.values_list()))
    assert not any(secret in stored for secret in (command.signing_secret, command.signature))


def test_a_hook_and_a_schedule_that_an_operator_deletes_are_recorded(alice: ApiClient) -> None:
    operator = make_operator(is_superuser=True)
    hook = Hook.objects.create(
        organization=alice.caller.organization, command=alice.caller.command, subscriptions=["kudos.*"]
    )
    schedule = make_schedule()

    for row in (hook, schedule):
        operator.post(page_of(row, "delete"), {"post": "yes"})

    assert [last_change_of(row).verb for row in (hook, schedule)] == ["deleted", "deleted"]


def test_a_new_key_is_recorded_without_the_key_and_its_hash() -> None:
    row, key = make_api_key()

    change = last_change_of(row)
    assert facts(change) == ("created", "api_key", str(row))
    stored = str(list(Change.objects.values_list()))
    assert key not in stored
    assert bytes(ApiKey.objects.get(pk=row.pk).secret_hash).hex() not in stored


def test_a_change_of_the_same_row_by_somebody_else_is_not_attributed_to_this_one() -> None:
    command = make_command()
    Command.objects.filter(pk=command.pk).update(name="renamed meanwhile")

    organization_services.change_in_directory(row=command, changes={"is_public": True})

    assert last_change_of(command).new == {"is_public": True}


@pytest.mark.django_db(transaction=True)
def test_a_schedule_and_its_record_are_one_statement(alice: ApiClient) -> None:
    with CaptureQueriesContext(connection) as queries:
        schedule = create_schedule(alice)

    # Each of these texts is that of the statement before the record was added to it.
    assert len([query for query in queries if query["sql"].startswith("INSERT")]) == 1
    assert not any(query["sql"].startswith(("BEGIN", "SAVEPOINT")) for query in queries)
    assert [change.verb for change in changes_of(schedule)] == ["created"]


def test_a_schedule_that_the_database_refuses_leaves_no_record(alice: ApiClient) -> None:
    schedule = make_schedule()
    refused = ScheduledExecution(
        organization=schedule.organization, command=schedule.command, name="refused", repeats=-2,
        anchor_at=schedule.anchor_at, effective_from=schedule.effective_from, next_run_at=schedule.next_run_at,
    )  # fmt: skip

    with pytest.raises(IntegrityError), transaction.atomic(), recording_its_insert(refused):
        refused.save(force_insert=True)

    assert changes_of(refused) == []


def test_a_change_that_is_rolled_back_leaves_no_trace() -> None:
    user = make_user()

    with transaction.atomic():
        organization_services.change_in_directory(row=user, changes={"full_name": "Grace Hopper"})
        transaction.set_rollback(True)

    assert changes_of(user) == []


@pytest.mark.django_db(transaction=True)
def test_a_change_on_the_command_line_names_the_account_and_the_command() -> None:
    database = connection.settings_dict
    address = f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}&port={database['PORT']}"
    environment = {**os.environ, "DATABASE_URL": address, "SECRET_KEY": settings.SECRET_KEY}

    subprocess.run(
        [sys.executable, "manage.py", "bootstrap", "--organization", "Acme", "--json"],
        cwd=ROOT, env=environment, check=True, capture_output=True,
    )  # fmt: skip

    change = last_change_of(Organization.objects.get(name="Acme"))
    assert (change.verb, change.actor_kind) == ("created", ActorKind.COMMAND_LINE)
    assert change.actor_name.endswith(" bootstrap")
    kinds = set(Change.objects.filter(organization__name="Acme").values_list("object_kind", flat=True))
    assert kinds == {"organization", "command", "user", "api_key"}


def test_the_key_of_a_request_that_ended_in_a_bug_does_not_act_any_more(alice: ApiClient) -> None:
    request = RequestFactory().get("/", headers={"X-API-KEY": alice.caller.key})

    with pytest.raises(ZeroDivisionError, match=ActorKind.API_KEY):
        BrokenView.as_view()(request)

    # The next work of this thread may be somebody else's.
    assert current_actor().kind == ActorKind.PLATFORM
