"""The API does not use sessions."""

from __future__ import annotations

from pytest_django import DjangoAssertNumQueries

from tests.admin import make_operator
from tests.api import ApiClient


def test_the_api_ignores_the_session_cookie_of_an_operator(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator = make_operator()
    alice.get("/v1/me/")

    with django_assert_num_queries(1):
        response = operator.get("/v1/me/", headers={"X-API-KEY": alice.caller.key})

    assert response.status_code == 200
