"""Actions of operators, on one object and on several."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduling.models import ScheduledExecution
from tests.admin import act, html_of, make_operator, page, page_of
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


def test_an_action_opened_in_its_own_tab_leads_to_the_page_of_the_object(operator: Client) -> None:
    """The dialog of an action is only a part of a page, so it cannot be shown in a tab."""
    schedule = make_schedule()

    in_a_tab = operator.get(page_of(schedule, "pause"))
    dialog = operator.get(page_of(schedule, "pause"), headers={"HX-Request": "true"})

    assert in_a_tab["Location"] == page_of(schedule)
    assert "<form" in dialog.content.decode()
    assert ScheduledExecution.objects.active().exists()


def test_the_title_shows_the_name_of_an_object_unchanged(operator: Client) -> None:
    assert "Scheduled executions" in html_of(operator, page_of(make_schedule(name="nightly")))
    assert "Nightly" not in html_of(operator, page_of(make_schedule(name="nightly")))


def test_an_empty_list_says_whether_a_search_made_it_empty(operator: Client) -> None:
    path = page(ScheduledExecution, "changelist")

    assert "There are no scheduled executions." in html_of(operator, path)
    assert "No scheduled execution matches the search and the filters." in html_of(operator, f"{path}?q=nonsense")


def test_one_attempt_is_shown_in_the_singular(operator: Client) -> None:
    page_of_one = html_of(operator, page_of(make_schedule(max_attempts=1)))

    assert "at most 1 attempt<" in page_of_one
    assert "at most 2 attempts<" in html_of(operator, page_of(make_schedule(max_attempts=2)))
