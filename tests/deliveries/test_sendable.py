"""The dispatcher, the sender, a manual run and the hooks give the same reason for the same parties."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from auth_tokens.scopes import INSTALLABLE_SCOPES
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError
from deliveries import outcomes, queue
from deliveries.models import Delivery, Kind, Reason
from events.models import Hook
from events.publishing import NewEvent
from organizations.models import Command, Installation, Organization, User
from scheduling import run_services
from scheduling.dispatch import dispatch_due
from scheduling.due import lock_due
from tests.factories import make_command, make_delivery, make_installation, make_organization, make_schedule, make_user
from tests.outbox import published

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9/callback"
NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class Parties:
    organization: Organization
    command: Command
    user: User | None
    expected: str


def make_parties(
    *, organization_is_active: bool, command_is_active: bool, whose: str, user_is: str, url: str
) -> Parties:
    """Makes one combination, with the reason that the rules of the product give."""
    organization = make_organization(is_active=organization_is_active)
    owner = organization if whose == "own" else make_organization(is_active=whose != "public of an inactive one")
    command = make_command(owner, callback_url=url, is_active=command_is_active, is_public=whose.startswith("public"))
    if whose == "public and installed":
        make_installation(command, organization)
    elif whose == "public without a scope":
        make_installation(command, organization, scopes=["STORAGE", "ACTIVITY"])
    elif whose == "public and removed":
        make_installation(command, organization, removed_at=clock.now())
    if user_is == "nobody":
        user = None
    elif user_is == "of an inactive organization":
        user = make_user(make_organization(is_active=False))
    else:
        user = make_user(organization, is_active=user_is == "active")
    expected = ""
    if not organization_is_active:
        expected = Reason.ORGANIZATION_INACTIVE
    elif not command_is_active or whose in ("private", "public of an inactive one"):
        expected = Reason.COMMAND_INACTIVE
    elif whose in ("public", "public and removed"):
        expected = Reason.COMMAND_NOT_INSTALLED
    elif whose == "public without a scope":
        expected = Reason.COMMAND_NOT_ALLOWED
    elif user_is in ("inactive", "of an inactive organization"):
        expected = Reason.USER_INACTIVE
    elif not url:
        expected = Reason.NO_CALLBACK_URL
    return Parties(organization, command, user, expected)


@pytest.fixture
def every_combination() -> list[Parties]:
    whose = (
        *("own", "public and installed", "public and removed", "public without a scope", "public", "private"),
        "public of an inactive one",
    )
    users = ("nobody", "active", "inactive", "of an inactive organization")
    return [
        make_parties(organization_is_active=first, command_is_active=second, whose=third, user_is=fourth, url=fifth)
        for first, second, third, fourth, fifth in product((True, False), (True, False), whose, users, (URL, ""))
    ]


def test_the_dispatcher_gives_the_common_reason(every_combination: list[Parties]) -> None:
    expected = {
        make_schedule(each.command, organization=each.organization, owner=each.user, next_run_at=NOON).pk: each.expected
        for each in every_combination
    }

    found = lock_due(now=NOON, limit=1000, max_bytes=10**9)

    assert {schedule.id: schedule.reason for schedule in found} == expected


def test_the_sender_gives_the_common_reason(every_combination: list[Parties]) -> None:
    expected = {
        make_delivery(
            each.command, organization=each.organization, user=each.user, url=each.command.callback_url
        ).pk: each.expected
        for each in every_combination
    }

    claims = queue.claim(limit=1000, lease=LEASE)

    assert {claim.id: claim.skip for claim in claims} == expected


def test_a_manual_run_is_refused_for_the_common_reason(every_combination: list[Parties]) -> None:
    for each in every_combination:
        schedule = make_schedule(each.command, organization=each.organization, owner=each.user)
        message = ""
        try:
            run_services.run_now(schedule=schedule)
        except InvalidInputError as error:
            message = error.message
        assert message == (f"It cannot run: {Reason(each.expected).label}." if each.expected else "")


def test_a_hook_is_skipped_for_the_common_reason(every_combination: list[Parties]) -> None:
    expected, events = {}, []
    for each in every_combination:
        if Installation.objects.filter(command=each.command).exclude(scopes__contains=["EVENT_SUBSCRIPTION"]).exists():
            # Such a hook does not hear of the event at all.
            continue
        hook = Hook.objects.create(
            organization=each.organization, command=each.command, user=each.user, subscriptions=["*"]
        )
        expected[hook.destination] = each.expected
        events.append(NewEvent(each.organization.pk, "kudos.posted", {}, None, NOON))

    published(events)

    assert dict(Delivery.objects.values_list("destination", "reason")) == expected


@pytest.mark.parametrize(
    ("kind", "needed"),
    [(Kind.SCHEDULED, "SCHEDULING"), (Kind.MANUAL, "SCHEDULING"), (Kind.EVENT, "EVENT_SUBSCRIPTION")],
)
@pytest.mark.parametrize("mode", ["installed", "everywhere"])
def test_a_delivery_of_an_installed_command_needs_the_scope_of_its_kind(
    kind: Kind, needed: str, mode: str, settings: Any
) -> None:
    """The installation counts even where none is needed, as it does for requests."""
    settings.PUBLIC_COMMANDS = mode
    command, organization = make_command(is_public=True), make_organization()
    installation = make_installation(command, organization, scopes=[needed])
    make_delivery(command, organization=organization, kind=kind)

    claims = queue.claim(limit=1, lease=LEASE)
    assert [claim.skip for claim in claims] == [""]
    outcomes.release(claims)
    installation.scopes = [scope for scope in INSTALLABLE_SCOPES if scope != needed]
    installation.save(update_fields=["scopes"])

    assert [claim.skip for claim in queue.claim(limit=1, lease=LEASE)] == [Reason.COMMAND_NOT_ALLOWED]


@pytest.mark.parametrize(
    "url",
    [
        *("example.com/hook", "ftp://example.com/", "http://", "http://[::1/x", "http://a b/"),
        *("http://example.com:99999/", "http://example.com:0/", "http://example.com", "http://ex\u00e4mple.com/"),
    ],
)
def test_an_invalid_url_is_a_reason_too(url: str) -> None:
    """The API refuses such a URL, but a shell or an import may write it. It must not stop other schedules."""
    broken, healthy = make_command(callback_url=url), make_command(callback_url=URL)
    for command in (broken, healthy):
        make_schedule(command, next_run_at=NOON)
        Hook.objects.create(organization=command.organization, command=command, subscriptions=["*"])

    with clock.replaced_by(lambda: NOON):
        dispatch_due()
    published([NewEvent(each.organization_id, "kudos.posted", {}, None, NOON) for each in (broken, healthy)])

    assert set(Delivery.objects.values_list("command", "kind", "state", "reason")) == {
        (broken.pk, "scheduled", "skipped", "invalid_callback_url"),
        (broken.pk, "event", "skipped", "invalid_callback_url"),
        (healthy.pk, "scheduled", "pending", ""),
        (healthy.pk, "event", "pending", ""),
    }
    with pytest.raises(InvalidInputError, match="not a valid URL"):
        run_services.run_now(schedule=make_schedule(broken))
