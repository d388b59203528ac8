"""The log of HTTP requests."""

from __future__ import annotations

from uuid import UUID

import pytest
import structlog
from django.test import Client

from commands_platform.lib.http.request_log import shown_path
from tests.api import ApiClient

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:structlog")

WITH_CONTEXT = [structlog.contextvars.merge_contextvars]


def test_a_request_that_fails_is_logged_with_its_id_and_the_callers_address() -> None:
    with structlog.testing.capture_logs(processors=WITH_CONTEXT) as log:
        Client().get("/v1/me/")

    (entry,) = log
    assert (entry["event"], entry["log_level"]) == ("request_finished", "warning")
    assert (entry["code"], entry["request"], entry["ip"]) == (401, "GET /v1/me/", "127.0.0.1")
    assert UUID(entry["request_id"])


def test_a_request_that_succeeds_is_not_logged(alice: ApiClient) -> None:
    with structlog.testing.capture_logs() as log:
        assert alice.get("/v1/me/").status_code == 200

    assert log == []


def test_later_log_lines_have_nothing_of_an_earlier_request(alice: ApiClient) -> None:
    for key in ("", None):
        alice.get("/v1/me/", key=key)

        assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize(
    ("path", "query", "shown"),
    [
        ("/v1/users/", "", "/v1/users/"),
        ("/v1/users/", "limit=10&offset=20", "/v1/users/?limit=10&offset=20"),
        ("/v1/users/", "api_key=a&TOKEN=b&sig=1&x-Signature=c", "/v1/users/?api_key=…&TOKEN=…&sig=1&x-Signature=…"),
        ("/v1/users/", "a=" + "x" * 40 + "&b=" + "x" * 41, "/v1/users/?a=" + "x" * 40 + "&b=…"),
        ("/v1/" + "x" * 41 + "/", "flag&" + "x" * 41, "/v1/…/?flag&…"),
        ("/v1/users/", "token=&=", "/v1/users/?token=&="),
    ],
)
def test_keys_and_tokens_are_kept_out_of_the_log(path: str, query: str, shown: str) -> None:
    assert shown_path(path, query) == shown


def test_a_key_in_the_query_string_is_not_logged() -> None:
    with structlog.testing.capture_logs() as log:
        Client().get("/v1/me/?api_key=cmdp_12345678&limit=5")

    assert log[0]["request"] == "GET /v1/me/?api_key=…&limit=5"


def test_a_request_for_another_host_is_one_line_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert Client().get("/v1/me/", headers={"host": "elsewhere.example"}).status_code == 400

    (record,) = caplog.records
    assert "elsewhere.example" in record.getMessage()
    assert record.exc_info is None


def test_a_request_that_is_refused_before_any_view_is_logged() -> None:
    with structlog.testing.capture_logs() as log:
        assert Client().get("/v1/me/?a=%00").status_code == 400

    (entry,) = log
    assert (entry["event"], entry["code"], entry["ip"]) == ("request_refused", 400, "127.0.0.1")
