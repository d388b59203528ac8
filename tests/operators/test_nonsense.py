"""The admin answers input that makes no sense with an error on the page."""

from __future__ import annotations

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from auth_tokens.models import ApiKey
from deliveries.models import Delivery
from organizations.models import Command, Organization
from organizations.models import User as PlatformUser
from scheduling.models import ScheduledExecution
from tests.admin import PAGES, Samples, make_operator, make_samples, page, page_of
from tests.operators.forms import form_of, present_data

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
def samples(db: None) -> Samples:
    return make_samples()


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_a_search_for_nonsense_is_answered(operator: Client, samples: Samples, text: str) -> None:
    for model in PAGES:
        response = operator.get(page(model, "changelist"), {"q": text})
        assert response.status_code == 200, model
        assert "<script>alert(1)" not in response.content.decode()
    assert operator.get(reverse("admin:search"), {"s": text, "extended": "1"}).status_code == 200


@pytest.mark.parametrize("raw", ["q=%00", "q=a%00b", "q=%ED%A0%80", "p=%00"])
def test_a_query_that_is_not_text_is_refused(operator: Client, raw: str) -> None:
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
def test_nonsense_in_the_query_causes_no_server_error(operator: Client, samples: Samples, query: str) -> None:
    for model in (Delivery, Command, ApiKey):
        assert operator.get(f"{page(model, 'changelist')}?{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize(
    "key", ["abc", "0", "-1", "9" * 30, "2d0a9b9f-d9a2-48b4-b85c-20988c874f96", "a" * 5000, "_2F", "'", "²"]
)
def test_an_unknown_key_leads_to_no_page(operator: Client, key: str) -> None:
    for model in PAGES:
        for name in ("change", "history", "delete"):
            response = operator.get(page(model, name, key))
            assert response.status_code in (302, 403, 404), (model, name)


@pytest.mark.parametrize(
    ("model", "action"),
    [(Delivery, "redeliver"), (ScheduledExecution, "run_now"), (ApiKey, "revoke")],
)
def test_an_action_on_impossible_keys_does_nothing(
    operator: Client, samples: Samples, model: type[Model], action: str
) -> None:
    for keys in (["abc"], ["9" * 30, "-1", "a" * 300, "<script>", "²", ""]):
        data = {"action": action, "index": "0", "_selected_action": keys}
        assert operator.post(page(model, "changelist"), data, follow=True).status_code == 200
    assert operator.post(page(model, "changelist"), {"action": "nonsense\0", "index": "x"}).status_code < 500


@pytest.mark.parametrize("query", ["s=a&page=abc", "s=a&page=99", "s=a&page=-1", f"s=a&page={'9' * 5000}"])
def test_an_impossible_page_of_the_search_is_not_found(operator: Client, query: str) -> None:
    assert operator.get(f"{reverse('admin:search')}?{query}").status_code == 404


@pytest.mark.parametrize("text", ["ab\u202ec", "ab\u2028c", "ab\x1bc"])
@pytest.mark.parametrize(("model", "field"), [(Command, "name"), (Organization, "name"), (PlatformUser, "full_name")])
def test_a_name_with_misleading_characters_is_refused(
    operator: Client, samples: Samples, model: type[Model], field: str, text: str
) -> None:
    """Callbacks carry these names, and logs and pages show them."""
    row = next(row for row in samples.rows if type(row) is model)
    data = present_data(form_of(operator, page_of(row))) | {field: text}

    response = operator.post(page_of(row), data)

    assert response.context["adminform"].form.errors[field][0].startswith("Character 3 is U+")
    row.refresh_from_db()
    assert getattr(row, field) != text
