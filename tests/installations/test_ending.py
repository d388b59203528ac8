"""A removed command stops acting in the organization at once, and its rows there are ended in batches."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet

from commands_platform.lib import clock
from commands_platform.lib.errors import NotFoundError
from deliveries.models import Delivery, Reason, State
from events.models import Hook
from events.publishing import NewEvent
from installations import ending, services
from organizations.models import Command, Installation, Organization
from scheduling.dispatch import dispatch_due
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.api import ApiClient, make_caller
from tests.factories import make_delivery, make_installation, make_schedule, make_token, make_user
from tests.locks import held_elsewhere
from tests.outbox import published

pytestmark = pytest.mark.django_db

ACTIVITY = "/v1/platform/activity/"
FETCH = "/v1/auth/fetch-command-exchange-token/"
URL = "http://127.0.0.1:9/callback"


@pytest.fixture
def guest() -> ApiClient:
    """A public command of another organization, with a key of its own."""
    return ApiClient(make_caller(is_public=True, callback_url=URL))


@pytest.fixture
def installation(guest: ApiClient, alice: ApiClient) -> Installation:
    return make_installation(guest.caller.command, alice.caller.organization)


def _install(installation: Installation) -> Installation:
    return services.install_command(
        organization=installation.organization, command_uuid=installation.command.uuid, scopes=["ACTIVITY"], events=[]
    )


def make_hook(installation: Installation, **values: Any) -> Hook:
    return Hook.objects.create(
        **{
            "organization": installation.organization,
            "command": installation.command,
            "user": make_user(installation.organization),
            "subscriptions": ["*"],
            **values,
        }
    )


def event_in(organization: Organization, name: str = "forms.created") -> NewEvent:
    return NewEvent(organization_id=organization.pk, name=name, body={}, object_id=None, happened_at=clock.now())


def test_removing_a_command_voids_its_tokens_at_once_and_makes_users_unknown(
    alice: ApiClient, guest: ApiClient, installation: Installation
) -> None:
    user = {"user_uuid": str(alice.caller.user.uuid)}
    token = guest.post(FETCH, user).json()["token"]
    assert guest.get(ACTIVITY, token=token).status_code == 200

    services.remove_installation(installation=installation)

    response = guest.get(ACTIVITY, token=token)
    assert (response.status_code, response["X-Exchange-Token-Status"]) == (400, "revoked")
    assert guest.post(FETCH, user).status_code == 406


def test_installing_again_does_not_revive_old_tokens(
    alice: ApiClient, guest: ApiClient, installation: Installation
) -> None:
    old = make_token(guest.caller.command, alice.caller.user)
    services.remove_installation(installation=installation)
    _install(installation)

    assert guest.get(ACTIVITY, token=old)["X-Exchange-Token-Status"] == "revoked"
    assert guest.get(ACTIVITY, token=make_token(guest.caller.command, alice.caller.user)).status_code == 200


def test_after_a_removal_nothing_is_sent_even_before_its_rows_are_ended(installation: Installation) -> None:
    schedule = make_schedule(installation.command, organization=installation.organization, next_run_at=clock.now())
    make_hook(installation)
    services.remove_installation(installation=installation)

    dispatch_due()
    published([event_in(installation.organization)])

    reasons = Delivery.objects.values_list("state", "reason")
    assert set(reasons) == {(State.SKIPPED, Reason.COMMAND_NOT_INSTALLED)}
    assert len(reasons) == 2
    assert Delivery.objects.of_source(schedule.uuid).exists()


def test_an_event_that_the_installation_excludes_leaves_no_row(installation: Installation) -> None:
    make_hook(installation)
    services.change_installation(installation=installation, events=["kudos.*"])

    assert published([event_in(installation.organization)]) == 0
    assert published([event_in(installation.organization, "kudos.posted")]) == 1

    services.change_installation(installation=installation, scopes=["STORAGE"])
    assert published([event_in(installation.organization, "kudos.posted")]) == 0


def test_schedules_deliveries_and_hooks_of_a_removed_command_are_ended(installation: Installation) -> None:
    schedule = make_schedule(installation.command, organization=installation.organization)
    delivery = make_delivery(installation.command, organization=installation.organization)
    make_hook(installation)
    services.remove_installation(installation=installation)

    ending.end_removed()

    schedule.refresh_from_db()
    delivery.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.UNINSTALLED)
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.COMMAND_NOT_INSTALLED)
    assert not Hook.objects.exists()


def test_rows_elsewhere_and_rows_of_other_commands_stay(
    installation: Installation, alice: ApiClient, mallory: ApiClient
) -> None:
    command = installation.command
    make_installation(command, mallory.caller.organization)
    schedules = [
        make_schedule(command),
        make_schedule(command, organization=mallory.caller.organization),
        make_schedule(alice.caller.command),
    ]
    deliveries = [make_delivery(each.command, organization=each.organization) for each in schedules]
    hook = make_hook(installation, organization=command.organization)
    services.remove_installation(installation=installation)

    ending.end_removed()

    assert ScheduledExecution.objects.active().count() == 3
    assert Delivery.objects.pending().count() == len(deliveries)
    assert Hook.objects.get() == hook


def test_many_rows_are_ended_in_batches(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_MAX_SCHEDULES", "_MAX_HOOKS", "_MAX_DELIVERIES"):
        monkeypatch.setattr(ending, name, 2)
    monkeypatch.setattr(ending, "_SECONDS_AT_ONCE", 0)
    for _ in range(5):
        make_schedule(installation.command, organization=installation.organization)
        make_delivery(installation.command, organization=installation.organization)
        make_hook(installation)
    services.remove_installation(installation=installation)

    ended = list(iter(ending.end_removed, 0))

    # Two rows of each kind at a time.
    assert ended[:2] == [6, 6]
    assert max(ended) == 6
    assert not ScheduledExecution.objects.active().exists()
    assert not Delivery.objects.pending().exists()
    assert not Hook.objects.exists()


def test_a_removal_ends_after_a_minute_so_that_late_requests_are_covered(installation: Installation) -> None:
    services.remove_installation(installation=installation)
    ending.end_removed()
    late = make_schedule(installation.command, organization=installation.organization)
    installation.refresh_from_db()
    assert installation.ended_at is None

    Installation.objects.update(removed_at=clock.now() - timedelta(seconds=61))
    ending.end_removed()

    installation.refresh_from_db()
    late.refresh_from_db()
    assert installation.ended_at is not None
    assert not late.is_active


def test_rows_made_after_installing_again_stay(installation: Installation) -> None:
    old = make_schedule(installation.command, organization=installation.organization)
    services.remove_installation(installation=installation)
    _install(installation)
    new = make_schedule(installation.command, organization=installation.organization)

    ending.end_removed()

    assert list(ScheduledExecution.objects.active()) == [new]
    old.refresh_from_db()
    assert old.deactivation_reason == DeactivationReason.UNINSTALLED


@pytest.mark.django_db(transaction=True)
def test_a_locked_schedule_is_left_to_the_next_batch(installation: Installation) -> None:
    held = make_schedule(installation.command, organization=installation.organization)
    free = make_schedule(installation.command, organization=installation.organization)
    services.remove_installation(installation=installation)
    has_lock, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            ScheduledExecution.objects.select_for_update().get(pk=held.pk)
            has_lock.set()
            may_go.wait(30)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    has_lock.wait(30)
    try:
        ending.end_removed()
        assert list(ScheduledExecution.objects.active()) == [held]
    finally:
        may_go.set()
        holder.join()
    ending.end_removed()

    assert not ScheduledExecution.objects.active().exists()
    free.refresh_from_db()
    assert free.deactivation_reason == DeactivationReason.UNINSTALLED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["schedule", "hook", "delivery"])
def test_a_removal_does_not_end_while_one_of_its_rows_is_locked(installation: Installation, kind: str) -> None:
    organization = installation.organization
    rows: QuerySet[Any]
    if kind == "schedule":
        make_schedule(installation.command, organization=organization)
        rows = ScheduledExecution.objects.active()
    elif kind == "hook":
        make_hook(installation)
        rows = Hook.objects.all()
    else:
        make_delivery(installation.command, organization=organization)
        rows = Delivery.objects.pending()
    services.remove_installation(installation=installation)
    Installation.objects.update(removed_at=clock.now() - timedelta(seconds=61))

    with held_elsewhere(rows):
        ending.end_removed()
    assert rows.exists()
    while ending.end_removed():
        pass

    assert not rows.exists()
    installation.refresh_from_db()
    assert installation.ended_at is not None


def test_a_command_can_be_removed_only_once(installation: Installation) -> None:
    services.remove_installation(installation=installation)

    with pytest.raises(NotFoundError):
        services.remove_installation(installation=installation)
    assert Command.objects.filter(pk=installation.command.pk).exists()
