"""The log of requests."""

from __future__ import annotations

from uuid import UUID

import pytest
import structlog
from django.test import Client

from tests.api import ApiClient

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:structlog")

WITH_CONTEXT = [structlog.contextvars.merge_contextvars]


def test_a_request_that_fails_is_logged_with_its_id_and_the_callers_address() -> None:
    with structlog.testing.capture_logs(processors=WITH_CONTEXT) as log:
        Client().get("/v1/me/", headers={"x-forwarded-for": "203.0.113.7"})

    (entry,) = log
    assert (entry["event"], entry["log_level"]) == ("request_finished", "warning")
    assert (entry["code"], entry["request"], entry["ip"]) == (401, "GET /v1/me/", "203.0.113.7")
    assert UUID(entry["request_id"])


def test_a_request_that_succeeds_is_not_logged(alice: ApiClient) -> None:
    with structlog.testing.capture_logs() as log:
        assert alice.get("/v1/me/").status_code == 200

    assert log == []


def test_nothing_of_a_request_is_left_for_the_next_lines(alice: ApiClient) -> None:
    for key in ("", None):
        alice.get("/v1/me/", key=key)

        assert structlog.contextvars.get_contextvars() == {}
