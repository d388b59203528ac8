"""Correlation ids of requests: taken or made, in every answer and in every log line."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import structlog
from django.test import Client

from commands_platform.wsgi import application
from tests.api import ApiClient

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:structlog")

HEADER = "X-Correlation-Id"
WITH_CONTEXT = [structlog.contextvars.merge_contextvars]


@pytest.mark.parametrize("sent", ["order-17", "a", "A.b_c-9", "x" * 128])
def test_the_callers_id_is_answered(sent: str) -> None:
    assert Client().get("/healthz", headers={HEADER: sent})[HEADER] == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "two words", "a,b", "a\tb", "é", "{x}", "a/b"])
def test_an_id_is_made_if_the_caller_sends_none_that_can_be_used(sent: str | None) -> None:
    headers = {} if sent is None else {HEADER: sent}

    first, second = (Client().get("/healthz", headers=headers)[HEADER] for _ in range(2))

    assert UUID(first) != UUID(second)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/me/", 401),
        ("GET", "/v1/nowhere/", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/me/?a=%00", 400),
        ("POST", "/v1/schema/", 405),
        ("OPTIONS", "/v1/me/", 401),
        ("GET", "/", 200),
        ("GET", "/v1/schema/", 200),
        ("GET", "/admin/", 302),
    ],
)
@pytest.mark.django_db
def test_answers_of_every_kind_have_the_id(method: str, path: str, status: int) -> None:
    response = Client().generic(method, path, headers={HEADER: "order-17"})

    assert (response.status_code, response[HEADER]) == (status, "order-17")


@pytest.mark.urls("tests.lib.kernel_urls")
def test_the_answer_to_a_bug_has_the_id() -> None:
    response = Client(raise_request_exception=False).get("/v1/bug/", headers={HEADER: "order-17"})

    assert (response.status_code, response[HEADER]) == (500, "order-17")


def test_a_request_that_django_cannot_read_has_the_id_too() -> None:
    sent: list[Any] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/me/",
        "CONTENT_TYPE": "x" * 2000,
        "HTTP_X_CORRELATION_ID": "order-17",
    }

    with structlog.testing.capture_logs() as log:
        application(environ, lambda status, headers: sent.append((status, dict(headers))))  # type: ignore[arg-type]

    ((status, headers),) = sent
    assert status.startswith("400")
    assert headers[HEADER] == "order-17"
    assert log[0]["correlation_id"] == "order-17"


def test_every_log_line_of_a_request_has_the_id(alice: ApiClient) -> None:
    with structlog.testing.capture_logs(processors=WITH_CONTEXT) as log:
        alice.post("/v1/platform/scheduling/", {}, headers={HEADER: "order-17"})
        alice.get("/v1/nowhere/", headers={HEADER: "order-18"})
        alice.get("/v1/me/?a=%00", headers={HEADER: "order-19"})

    assert [entry["correlation_id"] for entry in log] == ["order-17", "order-18", "order-19"]
    assert len({entry["request_id"] for entry in log}) == 3


def test_later_log_lines_have_nothing_of_a_refused_request() -> None:
    Client().get("/v1/me/?a=%00")

    assert structlog.contextvars.get_contextvars() == {}
