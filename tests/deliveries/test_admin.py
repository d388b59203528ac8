"""The ledger in the admin: operators can read, search and redeliver deliveries, but not change them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from commands_platform.lib import clock
from commands_platform.lib.database.identifiers import first_ledger_id_at, new_ledger_id
from deliveries.models import Delivery, Kind, Reason, State
from tests.admin import act, confirm, make_operator, page, page_of
from tests.factories import make_attempt, make_command, make_delivery, make_schedule


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _failed() -> Delivery:
    return make_delivery(state=State.FAILED, reason=Reason.REJECTED, next_attempt_at=None, finished_at=clock.now())


def _found(client: Client, query: str) -> list[Delivery]:
    return list(client.get(f"{page(Delivery, 'changelist')}?{query}").context["cl"].result_list)


def test_a_failed_delivery_is_sent_again_from_its_page(operator: Client) -> None:
    delivery = _failed()

    confirm(operator, delivery, "redeliver")

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.PENDING, "")
    assert LogEntry.objects.get().get_change_message() == "Sent again."


def test_redelivery_is_offered_only_for_deliveries_that_can_be_sent_again(operator: Client) -> None:
    failed, pending = _failed(), make_delivery()

    pages = {row.pk: operator.get(page_of(row)).content.decode() for row in (failed, pending)}
    listed = operator.get(page(Delivery, "changelist")).content.decode()

    assert page_of(failed, "redeliver") in pages[failed.pk]
    assert page_of(pending, "redeliver") not in pages[pending.pk]
    assert re.findall('name="_selected_action"[^>]* value="([^"]*)"', listed) == [str(failed.pk)]


def test_the_page_says_when_a_delivery_cannot_be_sent_again(operator: Client) -> None:
    pending = make_delivery()

    response = operator.get(confirm(operator, pending, "redeliver")["Location"])

    assert "It cannot be sent again" in response.content.decode()
    assert not LogEntry.objects.exists()


def test_the_action_redelivers_the_deliveries_that_it_can(operator: Client) -> None:
    failed = [_failed(), _failed()]
    pending = make_delivery()

    html = act(operator, "redeliver", *failed, pending).content.decode()

    assert "Sent again: 2." in html
    assert "It cannot be sent again" in html
    assert Delivery.objects.pending().count() == 3


def test_a_delivery_is_found_by_its_id_and_by_its_source(operator: Client) -> None:
    delivery = make_delivery()
    make_delivery()

    assert _found(operator, f"q={delivery.pk}") == [delivery]
    assert _found(operator, f"q={str(delivery.source_uuid).upper()}") == [delivery]
    assert _found(operator, f"q={uuid4()}") == []
    assert _found(operator, "q=command") == []


def test_deliveries_can_be_filtered(operator: Client) -> None:
    command = make_command()
    pending, failed = make_delivery(command), _failed()

    assert _found(operator, "state__exact=failed") == [failed]
    assert _found(operator, "reason__exact=rejected&period=hour") == [failed]
    assert _found(operator, f"command__id__exact={command.pk}") == [pending]
    assert _found(operator, f"organization__id__exact={command.organization_id}") == [pending]
    assert _found(operator, "kind__exact=event") == []


def test_a_period_is_a_range_of_the_key(operator: Client) -> None:
    old = make_delivery(id=UUID(int=first_ledger_id_at(clock.now() - timedelta(hours=2)).int + 1))
    new = make_delivery()

    assert _found(operator, "period=hour") == [new]
    assert _found(operator, "period=day") == [new, old]


def test_the_first_id_of_an_instant_lies_between_those_before_and_after() -> None:
    now = datetime.now(UTC)

    assert (
        first_ledger_id_at(now - timedelta(milliseconds=5))
        < new_ledger_id()
        < first_ledger_id_at(now + timedelta(days=1))
    )


def test_attempts_are_described_in_words_with_the_latest_first(operator: Client) -> None:
    first = make_attempt(number=1, status=None, error="timeout", message="No answer came in time.")
    second = make_attempt(number=2, status=204, message="", response="")
    delivery = make_delivery(attempts=[first, second], attempt_count=2)

    response = operator.get(page_of(delivery))

    latest, earlier = response.context["attempts"]
    assert (latest["number"], latest["cause"]) == (2, "")
    assert (earlier["number"], earlier["cause"], earlier["total"]) == (1, "No answer came in time.", "6.5 ms")
    assert "No answer came in time." in response.content.decode()


def test_an_answer_is_shown_as_text_and_never_as_html(operator: Client) -> None:
    delivery = make_delivery(attempts=[make_attempt(response="<script>alert(1)</script>" * 100)])

    html = operator.get(page_of(delivery)).content.decode()

    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html


def test_an_attempt_without_a_request_has_no_timings(operator: Client) -> None:
    delivery = make_delivery(attempts=[make_attempt(status=None, error="unsendable", timings=None, address=None)])

    (attempt,) = operator.get(page_of(delivery)).context["attempts"]

    assert (attempt["total"], attempt["phases"]) == ("", "")


def test_a_body_is_shown_indented(operator: Client) -> None:
    delivery = make_delivery(body='{"text":"<b>Hello</b>"}')

    html = operator.get(page_of(delivery)).content.decode()

    assert "  &quot;payload&quot;: {\n    &quot;text&quot;: &quot;&lt;b&gt;Hello&lt;/b&gt;&quot;" in html


def test_a_long_body_is_shortened(operator: Client) -> None:
    delivery = make_delivery(body=f'{{"text":"{"a" * 200_000}"}}')

    response = operator.get(page_of(delivery))

    assert "more characters are not shown" in response.content.decode()
    assert len(response.content) < 200_000


def test_a_delivery_links_to_its_schedule(operator: Client) -> None:
    schedule = make_schedule()
    delivery = make_delivery(schedule.command, source_uuid=schedule.uuid)

    html = operator.get(page_of(delivery)).content.decode()

    assert f"/admin/scheduling/scheduledexecution/by-uuid/{schedule.uuid}/" in html


def test_a_delivery_of_an_event_links_to_its_hook(operator: Client) -> None:
    delivery = make_delivery(kind=Kind.EVENT, destination="hook:42")

    assert "/admin/events/hook/42/change/" in operator.get(page_of(delivery)).content.decode()


def test_a_row_of_skipped_slots_says_how_many_and_why(operator: Client) -> None:
    now = clock.now()
    delivery = make_delivery(
        state=State.SKIPPED,
        reason=Reason.MISSED,
        next_attempt_at=None,
        finished_at=now,
        slot_count=14,
        last_due_at=now + timedelta(hours=1),
    )

    in_list = operator.get(page(Delivery, "changelist")).content.decode()
    html = operator.get(page_of(delivery)).content.decode()

    assert "too many runs were late (14 runs)" in in_list
    assert "14 runs: the first" in html


def test_the_list_shows_the_origin_of_the_receiver_but_not_its_path(operator: Client) -> None:
    make_delivery(url="https://hooks.example.com/services/T0PSECRET")

    html = operator.get(page(Delivery, "changelist")).content.decode()

    assert "https://hooks.example.com" in html
    assert "T0PSECRET" not in html


def test_a_delivery_that_is_being_sent_says_so(operator: Client) -> None:
    delivery = make_delivery(lease=uuid4(), leased_until=clock.now() + timedelta(minutes=1))

    assert "in flight" in operator.get(page(Delivery, "changelist")).content.decode()
    assert "In flight. Another sender may take it after" in operator.get(page_of(delivery)).content.decode()
