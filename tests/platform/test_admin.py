"""All of the admin's pages: who may see them, what they cost, what is never on them, and what they do with nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model, QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from activity.models import ActivityRecord
from auth_tokens.models import ApiKey
from commands_platform.lib import broker, clock
from commands_platform.operators.model_admin import LargeTableAdmin
from deliveries.models import Delivery, State
from events.models import Hook
from organizations.models import Command, Organization
from organizations.models import User as PlatformUser
from scheduling.models import ScheduledExecution, ZoneRules
from storage.models import Item
from tests.admin import Estate, act, make_estate, make_operator, page, page_of
from tests.factories import make_delivery, make_organization, make_schedule

OURS = ("organizations", "auth_tokens", "deliveries", "activity", "events", "scheduling", "storage")
# What the dispatchers keep for themselves is no page.
MODELS: list[type[Model]] = [
    model for app in OURS for model in apps.get_app_config(app).get_models() if model is not ZoneRules
]
PAGES: list[type[Model]] = [*MODELS, User, Group, LogEntry]
LARGE: list[type[Model]] = [Delivery, ScheduledExecution, Item, ActivityRecord, LogEntry]

HOSTILE_TEXTS = [
    "'; DROP TABLE deliveries_delivery; --",
    '"unbalanced',
    "\\%_'",
    "a" * 10_000,
    "a " * 5_000,
    "00000000-0000-0000-0000-00000000000g",
    "{00000000-0000-0000-0000-000000000000}",
    "2d0a9b9f-d9a2-48b4-b85c-20988c874f96",
    "9" * 30,
    "-1²",
    "\u202e\u200b😀",
    "<script>alert(1)</script>",
]


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


@pytest.fixture
def estate(db: None) -> Estate:
    return make_estate()


def _names(models: list[type[Model]]) -> list[str]:
    return [model._meta.label for model in models]


def _html(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def _number_of_queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


def _every_page(estate: Estate) -> Iterator[str]:
    yield reverse("admin:index")
    for model in PAGES:
        yield page(model, "changelist")
    for row in estate.rows:
        yield page_of(row)
        yield page_of(row, "history")


def test_every_model_has_pages_that_can_be_searched_and_filtered() -> None:
    for model in MODELS:
        pages = admin.site._registry[model]
        assert pages.search_fields, model
        assert pages.list_filter, model


@pytest.mark.parametrize("model", PAGES, ids=_names(PAGES))
def test_a_list_answers(operator: Client, estate: Estate, model: type[Model]) -> None:
    assert operator.get(page(model, "changelist")).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=_names(MODELS))
def test_the_cost_of_a_list_does_not_grow_with_its_rows(operator: Client, estate: Estate, model: type[Model]) -> None:
    path = page(model, "changelist")
    _number_of_queries(operator, path)
    with_one = _number_of_queries(operator, path)
    for _ in range(19):
        make_estate()

    assert _number_of_queries(operator, path) == with_one


def test_the_cost_of_an_objects_page_does_not_grow_with_the_tables(operator: Client, estate: Estate) -> None:
    paths = [page_of(row) for row in estate.rows]
    for path in paths:
        _number_of_queries(operator, path)
    alone = [_number_of_queries(operator, path) for path in paths]
    for _ in range(19):
        make_estate()

    assert [_number_of_queries(operator, path) for path in paths] == alone


def test_the_cost_of_a_schedules_page_does_not_grow_with_its_deliveries(operator: Client) -> None:
    schedule = make_schedule()
    make_delivery(schedule.command, source_uuid=schedule.uuid)
    _number_of_queries(operator, page_of(schedule))
    with_one = _number_of_queries(operator, page_of(schedule))
    for minutes in range(1, 20):
        due_at = clock.now() - timedelta(minutes=minutes)
        make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=due_at)

    assert _number_of_queries(operator, page_of(schedule)) == with_one


@pytest.mark.parametrize("model", LARGE, ids=_names(LARGE))
def test_a_large_table_is_never_counted_and_is_read_in_the_order_of_its_key(
    operator: Client, estate: Estate, model: type[Model]
) -> None:
    with CaptureQueriesContext(connection) as queries:
        _html(operator, page(model, "changelist"))

    table, key = model._meta.db_table, model._meta.pk.column
    reads = [query["sql"] for query in queries if f'FROM "{table}"' in query["sql"]]
    assert not [sql for sql in reads if "COUNT(" in sql]
    assert [sql for sql in reads if f'ORDER BY "{table}"."{key}" DESC LIMIT' in sql]


def test_the_order_of_a_large_table_cannot_be_asked_for(operator: Client, estate: Estate) -> None:
    with CaptureQueriesContext(connection) as queries:
        _html(operator, page(Delivery, "changelist") + "?o=2.-3")

    assert any('ORDER BY "deliveries_delivery"."id" DESC LIMIT' in query["sql"] for query in queries)


def test_the_list_of_deliveries_reads_neither_bodies_nor_attempts(operator: Client, estate: Estate) -> None:
    with CaptureQueriesContext(connection) as queries:
        _html(operator, page(Delivery, "changelist"))

    assert not [query["sql"] for query in queries if '"deliveries_delivery"."body"' in query["sql"]]


def test_a_list_that_takes_too_long_is_given_up_with_advice(
    operator: Client, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(pages: LargeTableAdmin, rows: QuerySet[Delivery], text: str) -> QuerySet[Delivery]:
        return rows.extra(where=["pg_sleep(5) IS NOT NULL"])

    monkeypatch.setattr(LargeTableAdmin, "longest_list_query_ms", 50)
    monkeypatch.setattr(LargeTableAdmin, "search_exactly", slow)

    response = operator.get(page(Delivery, "changelist") + "?q=anything", follow=True)

    assert response.redirect_chain == [(page(Delivery, "changelist"), 302)]
    assert "choose a shorter period" in response.content.decode()


def test_no_page_shows_a_secret(operator: Client, estate: Estate) -> None:
    for path in _every_page(estate):
        html = _html(operator, path)
        for secret in estate.secrets:
            assert secret not in html, (path, secret)


def test_what_a_receiver_sent_back_is_shown_without_the_secrets_in_it(operator: Client, estate: Estate) -> None:
    delivery = next(row for row in estate.rows if isinstance(row, Delivery))

    html = _html(operator, page_of(delivery))

    assert "{&quot;exchange_token&quot;:&quot;[removed]&quot;" in html


@pytest.mark.parametrize(
    "query",
    [
        "signing_secret__startswith=whsec_",
        "signature__gte=0",
        "previous_signing_secret__contains=a",
        "organization__api_keys__secret_hash__gte=a",
        "api_keys__prefix__startswith=a",
        "token_generation=0",
    ],
)
def test_a_secret_cannot_be_guessed_at_by_filters(operator: Client, estate: Estate, query: str) -> None:
    assert operator.get(f"{page(Command, 'changelist')}?{query}").status_code == 400


def test_a_secret_cannot_be_guessed_at_through_another_models_filters(operator: Client, estate: Estate) -> None:
    path = page(Delivery, "changelist")

    assert operator.get(f"{path}?command__signing_secret__startswith=whsec_").status_code == 400
    assert operator.get(f"{path}?body__contains=a").status_code == 400


def test_anonymous_people_are_sent_to_the_login(client: Client, estate: Estate) -> None:
    for path in _every_page(estate):
        response = client.get(path)
        assert response.status_code == 302, path
        assert response["Location"].startswith("/admin/login/?next="), path


def test_a_login_leads_to_the_first_page(client: Client, db: None) -> None:
    User.objects.create_superuser("root", password="correct horse battery staple")

    response = client.post("/admin/login/", {"username": "root", "password": "correct horse battery staple"})

    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_an_operator_without_permissions_sees_no_list(estate: Estate) -> None:
    stranger = make_operator()

    assert stranger.get(reverse("admin:index")).status_code == 200
    for model in PAGES:
        assert stranger.get(page(model, "changelist")).status_code == 403


def test_an_operator_who_may_only_look_is_offered_no_action(estate: Estate) -> None:
    watcher = make_operator("deliveries.view_delivery", "organizations.view_command")
    command = next(row for row in estate.rows if isinstance(row, Command))
    delivery = next(row for row in estate.rows if isinstance(row, Delivery))

    assert "Redeliver" not in _html(watcher, page_of(delivery))
    assert "Show secrets" not in _html(watcher, page_of(command))
    for path in (page_of(delivery, "redeliver"), page_of(command, "show_secrets"), page_of(command, "rotate_secret")):
        assert watcher.post(path, {"_form_submitted": "on"}).status_code == 403


def test_operators_who_are_no_superusers_cannot_change_logins(estate: Estate) -> None:
    climber = make_operator("auth.change_user", "auth.view_user", "auth.change_group")

    assert climber.get(page(User, "changelist")).status_code == 403
    assert climber.post(page_of(User.objects.get(username__startswith="operator"))).status_code == 403


@pytest.mark.parametrize(
    "model", [Organization, PlatformUser, Command, ApiKey, Delivery, ActivityRecord, User, LogEntry]
)
def test_what_the_records_refer_to_cannot_be_deleted(operator: Client, estate: Estate, model: type[Model]) -> None:
    row = next((row for row in estate.rows if isinstance(row, model)), None)
    if row is None:
        act(operator, "deactivate", *[each for each in estate.rows if isinstance(each, Command)])
        row = LogEntry.objects.latest("pk")

    assert operator.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert type(row)._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", [Delivery, ActivityRecord, ScheduledExecution, Hook, Item, LogEntry])
def test_what_the_platform_writes_itself_cannot_be_added(operator: Client, model: type[Model]) -> None:
    assert operator.get(page(model, "add")).status_code == 403


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_searching_for_nonsense_is_answered(operator: Client, estate: Estate, text: str) -> None:
    for model in PAGES:
        response = operator.get(page(model, "changelist"), {"q": text})
        assert response.status_code == 200, model
        assert "<script>alert(1)" not in response.content.decode()
    assert operator.get(reverse("admin:search"), {"s": text, "extended": "1"}).status_code == 200


@pytest.mark.parametrize("raw", ["q=%00", "q=a%00b", "q=%ED%A0%80", "p=%00"])
def test_a_query_that_is_no_text_is_refused(operator: Client, raw: str) -> None:
    for model in PAGES:
        assert operator.get(f"{page(model, 'changelist')}?{raw}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        *("p=0", "p=-1", "p=abc", "p=99999999999999999999", f"p={'9' * 5000}", "p=101", "o=99", "o=a.b", "all="),
        *("organization__id__exact=abc", "organization__id__exact=99999999999999999999", "organization__id__exact="),
        *(
            "state__exact=nonsense",
            "period=nonsense",
            "is_active__exact=7",
            "e=1",
            "_facets=1",
            "nonsense=1",
            "state=x",
        ),
    ],
)
def test_nonsense_in_the_query_never_fails(operator: Client, estate: Estate, query: str) -> None:
    for model in (Delivery, Command, ApiKey):
        assert operator.get(f"{page(model, 'changelist')}?{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize(
    "key", ["abc", "0", "-1", "9" * 30, "2d0a9b9f-d9a2-48b4-b85c-20988c874f96", "a" * 5000, "_2F", "'", "²"]
)
def test_a_page_of_nothing_leads_back_to_the_start(operator: Client, key: str) -> None:
    for model in PAGES:
        for name in ("change", "history", "delete"):
            response = operator.get(page(model, name, key))
            assert response.status_code in (302, 403, 404), (model, name)


@pytest.mark.parametrize(
    ("model", "action"),
    [(Delivery, "redeliver_selected"), (ScheduledExecution, "run_selected"), (ApiKey, "revoke_selected")],
)
def test_acting_on_rows_that_cannot_be_does_nothing(
    operator: Client, estate: Estate, model: type[Model], action: str
) -> None:
    for keys in (["abc"], ["9" * 30, "-1", "a" * 300, "<script>", "²", ""]):
        data = {"action": action, "index": "0", "_selected_action": keys}
        assert operator.post(page(model, "changelist"), data, follow=True).status_code == 200
    assert operator.post(page(model, "changelist"), {"action": "nonsense\0", "index": "x"}).status_code < 500


def test_an_action_on_all_rows_of_a_table_touches_those_that_are_ticked_alone(operator: Client) -> None:
    ticked, other = make_schedule(), make_schedule()
    data = {"action": "pause_selected", "index": "0", "select_across": "1", "_selected_action": [str(ticked.pk)]}

    operator.post(page(ScheduledExecution, "changelist"), data)

    assert list(ScheduledExecution.objects.active()) == [other]


@pytest.mark.parametrize("query", ["s=a&page=abc", "s=a&page=99", "s=a&page=-1", f"s=a&page={'9' * 5000}"])
def test_the_search_for_pages_has_no_page_of_nonsense(operator: Client, query: str) -> None:
    assert operator.get(f"{reverse('admin:search')}?{query}").status_code == 404


def test_a_uuid_is_found_whatever_it_belongs_to(operator: Client, estate: Estate) -> None:
    for row in estate.rows:
        uuid = row.pk if isinstance(row, Delivery) else getattr(row, "uuid", None)
        if uuid is not None:
            assert page_of(row) in _html(operator, f"{reverse('admin:search')}?extended=1&s={uuid}")


def test_a_uuid_is_not_found_by_who_may_not_see_what_it_belongs_to(estate: Estate) -> None:
    schedule = next(row for row in estate.rows if isinstance(row, ScheduledExecution))

    assert page_of(schedule) not in _html(make_operator(), f"{reverse('admin:search')}?extended=1&s={schedule.uuid}")


def test_rows_are_found_by_the_name_of_what_they_belong_to(operator: Client, estate: Estate) -> None:
    command = next(row for row in estate.rows if isinstance(row, Command))
    for model in (Command, ApiKey, Hook):
        assert page_of(next(row for row in estate.rows if isinstance(row, model))) in _html(
            operator, f"{page(model, 'changelist')}?q={quote(command.name)}"
        )


def test_the_first_page_tells_whether_work_is_done(operator: Client) -> None:
    now = clock.now()
    make_delivery(next_attempt_at=now - timedelta(minutes=3))
    for state, reason in ((State.DELIVERED, ""), (State.FAILED, "rejected"), (State.FAILED, "retries_exhausted")):
        make_delivery(state=state, reason=reason, next_attempt_at=None, finished_at=now)
    broker.client().set(broker.beat_key(), int(now.timestamp()), ex=5)

    figures = operator.get(reverse("admin:index")).context["figures"]

    shown = {figure.title: figure.figure for figure in figures}
    assert shown["Pending"] == "1"
    assert shown["Oldest waiting"] == "3 min"
    assert shown["Delivered"] == "1"
    assert shown["Failed"] == "2"
    assert shown["Beat"] == "ticking"


def test_the_first_page_says_that_beat_has_stopped(operator: Client) -> None:
    broker.client().delete(broker.beat_key())

    figures = operator.get(reverse("admin:index")).context["figures"]

    assert [figure.figure for figure in figures if figure.is_bad] == ["stopped"]


def test_the_first_page_costs_the_same_for_one_delivery_and_for_many(operator: Client) -> None:
    make_delivery(state=State.FAILED, reason="rejected", next_attempt_at=None, finished_at=clock.now())
    _number_of_queries(operator, reverse("admin:index"))
    with_one = _number_of_queries(operator, reverse("admin:index"))
    for _ in range(19):
        make_delivery(state=State.FAILED, reason="rejected", next_attempt_at=None, finished_at=clock.now())

    assert _number_of_queries(operator, reverse("admin:index")) == with_one


def test_an_organization_is_deactivated_and_activated_again(operator: Client) -> None:
    organization = make_organization()

    act(operator, "deactivate", organization)
    organization.refresh_from_db()
    assert not organization.is_active

    act(operator, "activate", organization)
    organization.refresh_from_db()
    assert organization.is_active
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")] == ["Deactivated.", "Activated."]
