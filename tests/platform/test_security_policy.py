"""The Content-Security-Policy: pages load only files of this server, and answers of the API load nothing."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.admin import every_page, make_operator, make_samples
from tests.api import ApiClient

POLICY = "Content-Security-Policy"
NOTHING = "default-src 'none'; frame-ancestors 'none'"
# Inline scripts, and code in attributes. Browsers do not treat Alpine's x-… attributes as code.
INLINE_CODE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|<[^>]*\son[a-z]+=|href=\"javascript:")


def _directives(response: object) -> dict[str, list[str]]:
    policy: str = response.headers[POLICY]  # type: ignore[attr-defined]
    return {name: values for name, *values in (part.split() for part in policy.split("; "))}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/", "/admin/login/", "/admin/", "/v1/docs/", "/nothing-here", "/admin/nothing-here/"]
)
def test_a_page_may_load_only_files_of_this_server(path: str) -> None:
    response = make_operator(is_superuser=True).get(path, headers={"Accept": "text/html"})

    directives = _directives(response)
    assert directives["default-src"] == ["'none'"]
    assert directives["frame-ancestors"] == directives["base-uri"] == ["'none'"]
    assert directives["form-action"] == ["'self'"]
    assert "'unsafe-inline'" not in directives["script-src"]
    assert ("'unsafe-eval'" in directives["script-src"]) == path.startswith("/admin/")
    assert not [value for values in directives.values() for value in values if "*" in value or "http" in value]
    assert "camera=()" in response.headers["Permissions-Policy"]


@pytest.mark.django_db
def test_no_page_has_inline_code() -> None:
    client = make_operator(is_superuser=True)

    for path in (*every_page(make_samples()), "/", "/v1/docs/", "/nothing-here", "/admin/auth/user/add/"):
        html = client.get(path, headers={"Accept": "text/html"}).content.decode()
        assert not INLINE_CODE.findall(html), path


@pytest.mark.django_db
def test_the_script_of_the_documentation_is_a_file() -> None:
    client = Client()
    source = re.findall(r'<script src="(/v1/docs/[^"]*)"', client.get("/v1/docs/").content.decode())[0]

    script = client.get(source)

    assert (script.status_code, script.headers["Content-Type"]) == (200, "application/javascript")
    assert b"SwaggerUIBundle" in script.content


def test_an_answer_of_the_api_may_load_nothing(alice: ApiClient) -> None:
    for path in ("/v1/me/", "/v1/nothing-here/", "/v1/schema/", "/healthz"):
        response = alice.get(path)
        assert response.headers[POLICY] == NOTHING
        assert "Permissions-Policy" not in response.headers


def test_a_request_refused_by_the_middleware_has_a_policy_too(db: None) -> None:
    assert Client().get("/admin/?q=%00").headers[POLICY]
