"""HEAD, OPTIONS and unknown paths, outside of the endpoints too."""

from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

# The endpoints of the API are in tests/architecture/test_endpoints.py.
PATHS = ["/", "/healthz", "/readyz", "/v1/schema/", "/v1/schema", "/v1/docs/"]


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_like_get_without_a_body(path: str) -> None:
    head, get = Client().head(path), Client().get(path)

    assert (head.status_code, head["Content-Type"]) == (get.status_code, get["Content-Type"])
    assert head.content == b""


@pytest.mark.parametrize("path", PATHS)
def test_options_lists_the_methods(path: str) -> None:
    response = Client().options(path)

    assert (response.status_code, response["Allow"], response.content) == (204, "GET, HEAD, OPTIONS", b"")


@pytest.mark.parametrize("path", PATHS)
def test_another_method_is_refused_with_the_right_ones(path: str) -> None:
    response = Client().delete(path)

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert response.json() == {
        "detail": 'Method "DELETE" not allowed. Allowed here: GET, HEAD, OPTIONS.',
        "code": "method_not_allowed",
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/", "/v1/nowhere/", "/static/nowhere.css"])
def test_an_unknown_path_is_answered_in_json(method: str, path: str) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        response = Client().generic(method, path, headers=headers)

        assert response.status_code == 404
        assert response.json() == {"detail": "Not found.", "code": "not_found"}
    assert Client().head(path).status_code == 404


def test_an_unknown_path_is_answered_with_a_page_for_browsers() -> None:
    response = Client().get("/nowhere", headers={"Accept": "text/html,*/*"})

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert Client().get("/v1/nowhere/", headers={"Accept": "text/html,*/*"})["Content-Type"] == "application/json"
