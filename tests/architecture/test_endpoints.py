"""Rules for every endpoint. The endpoints are found by walking the server's URL patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from auth_tokens.api import PlatformView
from auth_tokens.scopes import Scope
from tests.api import ApiClient
from tests.production_files import ROOT

# The documentation is public.
OPEN = {"v1/schema/", "v1/docs/"}

_PARAMETER = re.compile(r"<str:(\w+)>")


def api_views() -> dict[str, Any]:
    """Returns the views under /v1/ by route."""
    return {route: view for route, view in _routes(get_resolver().url_patterns) if route.startswith("v1/")}


def _routes(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern), pattern.callback


ENDPOINTS = {route: view.view_class for route, view in api_views().items() if route not in OPEN}
DOCUMENTED = sorted(route for route in ENDPOINTS if route.endswith("/"))


@pytest.fixture
def client_with_every_scope(alice: ApiClient) -> ApiClient:
    """Returns the client of a caller who has every scope."""
    return ApiClient(alice.caller.with_scopes(*Scope.values))


def methods_of(route: str) -> list[str]:
    return [method for method in ("get", "post", "put", "patch", "delete") if hasattr(ENDPOINTS[route], method)]


def path_of(route: str) -> str:
    return "/" + _PARAMETER.sub(str(uuid4()), route)


@pytest.mark.parametrize("route", DOCUMENTED)
def test_an_endpoint_works_without_its_last_slash(route: str) -> None:
    assert ENDPOINTS[route.rstrip("/")] is ENDPOINTS[route]


@pytest.mark.parametrize("route", DOCUMENTED)
def test_an_endpoint_names_the_scope_that_it_needs(route: str) -> None:
    view = ENDPOINTS[route]

    assert issubclass(view, PlatformView)
    assert view.required_scope is not None


@pytest.mark.parametrize("route", DOCUMENTED)
def test_options_lists_the_methods_of_an_endpoint(client_with_every_scope: ApiClient, route: str) -> None:
    response = client_with_every_scope.request("OPTIONS", path_of(route))

    expected = {method.upper() for method in methods_of(route)} | {"OPTIONS"}
    assert response.status_code == 204
    assert set(response["Allow"].split(", ")) - {"HEAD"} == expected
    assert ("HEAD" in response["Allow"]) == ("GET" in expected)


@pytest.mark.parametrize("route", [route for route in DOCUMENTED if "get" in methods_of(route)])
def test_head_is_answered_like_get_without_a_body(client_with_every_scope: ApiClient, route: str) -> None:
    path = path_of(route)

    head, get = client_with_every_scope.request("HEAD", path), client_with_every_scope.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head["Content-Type"] == get["Content-Type"]


@pytest.mark.parametrize("route", DOCUMENTED)
def test_an_error_about_a_method_lists_the_allowed_ones(client_with_every_scope: ApiClient, route: str) -> None:
    method = next(method for method in ("POST", "PUT", "PATCH", "DELETE") if method.lower() not in methods_of(route))

    response = client_with_every_scope.request(method, path_of(route))

    assert response.status_code == 405
    assert f"Allowed here: {response['Allow']}." in response.json()["detail"]


@pytest.mark.parametrize(("route", "method"), [(route, method) for route in DOCUMENTED for method in methods_of(route)])
def test_the_reference_describes_every_endpoint(route: str, method: str) -> None:
    reference = (ROOT / "docs" / "api.md").read_text()

    path = _PARAMETER.sub(r"{\1}", route)
    assert f"`{method.upper()} /{path}`" in reference
