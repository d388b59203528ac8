"""The log of every process."""

from __future__ import annotations

import logging

import pytest

from commands_platform.lib.logs import NotAboutHealth


@pytest.mark.parametrize(
    ("request_line", "is_kept"),
    [("GET /readyz", False), ("GET /healthz", False), ("GET /v1/users/", True), ("POST /v1/platform/storage", True)],
)
def test_requests_about_health_are_not_logged(request_line: str, is_kept: bool) -> None:
    record = logging.LogRecord("requests", logging.ERROR, "", 0, {"request": request_line, "code": 503}, None, None)

    assert NotAboutHealth().filter(record) is is_kept


def test_other_messages_are() -> None:
    record = logging.LogRecord("requests", logging.ERROR, "", 0, "GET /readyz", None, None)

    assert NotAboutHealth().filter(record)
