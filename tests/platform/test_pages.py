"""The pages outside the admin: the start page and the error pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client
from django.test.client import RequestFactory
from django.views import defaults

from commands_platform import __version__

HTML = {"Accept": "text/html,application/xhtml+xml"}


def test_the_start_page_says_what_this_is_and_where_to_go() -> None:
    response = Client().get("/", headers=HTML)

    page = response.content.decode()
    assert response.status_code == 200
    assert "This is a Commands Platform server" in page
    assert all(f'href="{path}"' in page for path in ("/v1/docs/", "/admin/", "/v1/schema/", "/readyz"))
    assert "http://testserver/v1/platform/scheduling/" in page


def test_the_start_page_is_json_for_programs() -> None:
    answer = Client().get("/").json()

    assert answer == {
        "name": "Commands Platform",
        "version": __version__,
        "docs": "http://testserver/v1/docs/",
        "schema": "http://testserver/v1/schema/",
    }


def test_the_start_page_allows_no_other_method() -> None:
    assert Client().post("/").status_code == 405


def test_an_unknown_page_is_answered_with_an_error_page() -> None:
    response = Client().get("/no-such-page", headers=HTML)

    assert response.status_code == 404
    assert b"There is no page here" in response.content
    assert b"no-such-page" not in response.content


def test_an_unknown_path_of_the_api_is_answered_in_json_even_to_a_browser() -> None:
    response = Client().get("/v1/no-such-path/", headers=HTML)

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_each_error_page_uses_the_common_style(status: int) -> None:
    request = RequestFactory().get("/")
    views: dict[int, Callable[[], HttpResponse]] = {
        400: lambda: defaults.bad_request(request, ValueError()),
        403: lambda: defaults.permission_denied(request, PermissionError()),
        404: lambda: defaults.page_not_found(request, LookupError()),
        500: lambda: defaults.server_error(request),
    }

    response = views[status]()

    page = response.content.decode()
    assert response.status_code == status
    assert f'<p class="status">{status}</p>' in page
    assert "commands_platform/pages.css" in page


def test_a_form_without_its_csrf_token_is_answered_with_a_page_that_says_what_to_do() -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"}, headers=HTML)

    assert response.status_code == 403
    assert b"This form has expired" in response.content


def test_browsers_find_the_icon() -> None:
    response = Client().get("/favicon.ico")

    assert response.status_code == 302
    assert response["Location"].endswith("favicon.svg")
