"""The lists of the admin: what they cost, and how they are searched."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import Model, QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from activity.models import ActivityRecord
from audit.models import Change
from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from commands_platform.operators.large_tables import LargeTableAdmin
from deliveries.models import Delivery
from events.models import Hook
from organizations.models import Command
from scheduling.models import ScheduledExecution
from storage.models import Item
from tests.admin import (
    MODELS,
    OWN_APPS,
    PAGES,
    Samples,
    html_of,
    make_operator,
    make_samples,
    names_of,
    number_of_queries,
    page,
    page_of,
)
from tests.factories import make_delivery, make_schedule

# Models that no operator needs to see. Every other model must have pages.
INTERNAL = {
    *("scheduling.UnspentRepeat", "scheduling.ZoneRules", "scheduling.ZoneMove", "scheduling.DispatcherUptime"),
    *("processes.ChoreRun", "events.OutboxEvent", "audit.Chain", "auth_tokens.IdempotentRequest"),
}
LARGE: list[type[Model]] = [Delivery, ScheduledExecution, Item, ActivityRecord, Change, LogEntry]


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


@pytest.fixture
def samples(db: None) -> Samples:
    return make_samples()


def test_every_model_but_internal_ones_has_pages() -> None:
    models = [model for app in OWN_APPS for model in apps.get_app_config(app).get_models()]

    assert {model._meta.label for model in models if model not in admin.site._registry} <= INTERNAL


def test_every_list_can_be_searched_and_filtered() -> None:
    for model in MODELS:
        pages = admin.site._registry[model]
        assert pages.search_fields, model
        assert pages.list_filter, model


@pytest.mark.parametrize("model", PAGES, ids=names_of(PAGES))
def test_every_list_opens(operator: Client, samples: Samples, model: type[Model]) -> None:
    assert operator.get(page(model, "changelist")).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=names_of(MODELS))
def test_the_cost_of_a_list_does_not_grow_with_its_rows(operator: Client, samples: Samples, model: type[Model]) -> None:
    path = page(model, "changelist")
    number_of_queries(operator, path)
    with_one = number_of_queries(operator, path)
    for _ in range(19):
        make_samples()

    assert number_of_queries(operator, path) == with_one


def test_the_cost_of_an_objects_page_does_not_grow_with_the_tables(operator: Client, samples: Samples) -> None:
    paths = [page_of(row) for row in samples.rows]
    for path in paths:
        number_of_queries(operator, path)
    alone = [number_of_queries(operator, path) for path in paths]
    for _ in range(19):
        make_samples()

    assert [number_of_queries(operator, path) for path in paths] == alone


def test_the_cost_of_a_schedules_page_does_not_grow_with_its_deliveries(operator: Client) -> None:
    schedule = make_schedule()
    make_delivery(schedule.command, source_uuid=schedule.uuid)
    number_of_queries(operator, page_of(schedule))
    with_one = number_of_queries(operator, page_of(schedule))
    for minutes in range(1, 20):
        due_at = clock.now() - timedelta(minutes=minutes)
        make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=due_at)

    assert number_of_queries(operator, page_of(schedule)) == with_one


@pytest.mark.parametrize("model", LARGE, ids=names_of(LARGE))
def test_a_large_table_is_read_in_the_order_of_its_key_and_never_counted(
    operator: Client, samples: Samples, model: type[Model]
) -> None:
    with CaptureQueriesContext(connection) as queries:
        html_of(operator, page(model, "changelist"))

    table, key = model._meta.db_table, model._meta.pk.column
    reads = [query["sql"] for query in queries if f'FROM "{table}"' in query["sql"]]
    assert not [sql for sql in reads if "COUNT(" in sql]
    assert [sql for sql in reads if f'ORDER BY "{table}"."{key}" DESC LIMIT' in sql]


def test_the_order_of_a_large_table_cannot_be_changed(operator: Client, samples: Samples) -> None:
    with CaptureQueriesContext(connection) as queries:
        html_of(operator, page(Delivery, "changelist") + "?o=2.-3")

    assert any('ORDER BY "deliveries_delivery"."id" DESC LIMIT' in query["sql"] for query in queries)


def test_the_list_of_deliveries_reads_neither_bodies_nor_attempts(operator: Client, samples: Samples) -> None:
    with CaptureQueriesContext(connection) as queries:
        html_of(operator, page(Delivery, "changelist"))

    assert not [query["sql"] for query in queries if '"deliveries_delivery"."body"' in query["sql"]]


def test_a_list_that_takes_too_long_is_refused_with_advice(
    operator: Client, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(pages: LargeTableAdmin, rows: QuerySet[Delivery], text: str) -> QuerySet[Delivery]:
        return rows.extra(where=["pg_sleep(5) IS NOT NULL"])

    monkeypatch.setattr(LargeTableAdmin, "max_list_query_ms", 50)
    monkeypatch.setattr(LargeTableAdmin, "search_exactly", slow)

    response = operator.get(page(Delivery, "changelist") + "?q=anything", follow=True)

    assert response.redirect_chain == [(page(Delivery, "changelist"), 302)]
    assert "Choose a shorter period" in response.content.decode()


def test_rows_are_found_by_the_name_of_their_owner(operator: Client, samples: Samples) -> None:
    command = next(row for row in samples.rows if isinstance(row, Command))
    for model in (Command, ApiKey, Hook):
        assert page_of(next(row for row in samples.rows if isinstance(row, model))) in html_of(
            operator, f"{page(model, 'changelist')}?q={quote(command.name)}"
        )


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Command, ScheduledExecution])
def test_the_filter_of_a_flag_is_titled_without_is(model: type[Model]) -> None:
    shown = html_of(make_operator(is_superuser=True), page(model, "changelist"))

    assert "By active" in shown
    assert "By is active" not in shown
