"""Actions of operators, on one object and on several."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduling.models import ScheduledExecution
from tests.admin import act, make_operator, page
from tests.factories import make_organization, make_schedule


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def test_an_action_affects_only_selected_rows(operator: Client) -> None:
    ticked, other = make_schedule(), make_schedule()
    data = {"action": "pause", "index": "0", "select_across": "1", "_selected_action": [str(ticked.pk)]}

    operator.post(page(ScheduledExecution, "changelist"), data)

    assert list(ScheduledExecution.objects.active()) == [other]


def test_an_organization_is_deactivated_and_activated_again(operator: Client) -> None:
    organization = make_organization()

    act(operator, "deactivate", organization)
    organization.refresh_from_db()
    assert not organization.is_active

    act(operator, "activate", organization)
    organization.refresh_from_db()
    assert organization.is_active
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")] == ["Deactivated.", "Activated."]
