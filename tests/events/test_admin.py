"""Hooks in the admin: looked at, and removed with what they have not been sent."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from deliveries.models import Kind, Reason, State
from events.models import Hook
from tests.admin import make_operator, page, page_of
from tests.factories import make_command, make_delivery, make_user


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _make_hook(**values: Any) -> Hook:
    command = make_command()
    defaults = {"organization": command.organization, "command": command, "subscriptions": ["kudos.*"]}
    return Hook.objects.create(**{**defaults, **values})


def test_a_hook_is_removed_with_what_it_has_not_been_sent(operator: Client) -> None:
    hook = _make_hook()
    delivery = make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination)

    operator.post(page_of(hook, "delete"), {"post": "yes"})

    assert not Hook.objects.exists()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.HOOK_REMOVED)


def test_several_hooks_are_removed_at_once_as_one_is(operator: Client) -> None:
    hooks = [_make_hook(), _make_hook(), _make_hook()]
    deliveries = [make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination) for hook in hooks]
    data = {
        "action": "delete_selected",
        "index": "0",
        "_selected_action": [str(hook.pk) for hook in hooks[:2]],
        "post": "yes",
    }

    operator.post(page(Hook, "changelist"), data)

    assert Hook.objects.get() == hooks[2]
    for delivery in deliveries:
        delivery.refresh_from_db()
    assert [delivery.state for delivery in deliveries] == [State.CANCELLED, State.CANCELLED, State.PENDING]


def test_a_hook_is_found_by_its_number_and_by_its_user(operator: Client) -> None:
    user = make_user()
    hook = _make_hook(user=user, organization=user.organization)
    _make_hook()

    for term in (str(hook.pk), str(user.uuid), user.full_name):
        assert list(operator.get(page(Hook, "changelist"), {"q": term}).context["cl"].result_list) == [hook]


def test_the_names_that_a_hook_subscribes_to_are_text(operator: Client) -> None:
    hook = _make_hook(subscriptions=["<script>alert(1)</script>"])

    assert "<script>alert(1)" not in operator.get(page_of(hook)).content.decode()
