"""Hooks in the admin can be viewed, and removed together with their unsent events."""

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


def test_removing_a_hook_cancels_its_unsent_events(operator: Client) -> None:
    hook = _make_hook()
    delivery = make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination)

    operator.post(page_of(hook, "delete"), {"post": "yes"})

    assert not Hook.objects.exists()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.HOOK_REMOVED)


def test_several_hooks_are_removed_at_once(operator: Client) -> None:
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


def test_the_subscriptions_of_a_hook_are_shown_as_text(operator: Client) -> None:
    hook = _make_hook(subscriptions=["<script>alert(1)</script>"])

    html = operator.get(page_of(hook)).content.decode()

    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html
