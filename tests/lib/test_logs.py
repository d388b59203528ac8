"""The logs of all processes."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from commands_platform.lib.logs import ConsoleRenderer, NotAboutHealth


@pytest.mark.parametrize(
    ("request_line", "is_kept"),
    [("GET /readyz", False), ("GET /healthz", False), ("GET /v1/users/", True), ("POST /v1/platform/storage", True)],
)
def test_requests_for_health_checks_are_not_logged(request_line: str, is_kept: bool) -> None:
    record = logging.LogRecord("requests", logging.ERROR, "", 0, {"request": request_line, "code": 503}, None, None)

    assert NotAboutHealth().filter(record) is is_kept


def test_other_messages_are_logged() -> None:
    record = logging.LogRecord("requests", logging.ERROR, "", 0, "GET /readyz", None, None)

    assert NotAboutHealth().filter(record)


_FAILING = """
import structlog
from commands_platform.lib.logs import logging_config

def fail_with(payload):
    raise ValueError(f"{len(payload)} characters are too many")

logging_config(log_format="console", level="INFO")
try:
    fail_with("hunter" + str(2))
except ValueError:
    structlog.get_logger().exception("it_failed")
"""


def test_a_traceback_on_the_console_shows_no_local_variables() -> None:
    finished = subprocess.run([sys.executable, "-c", _FAILING], capture_output=True, check=True, text=True)

    assert "ValueError: 7 characters are too many" in finished.stdout
    assert "hunter2" not in finished.stdout


def test_a_secret_in_a_log_line_is_removed() -> None:
    secret = "cmdt_" + "aZ0-_" * 16
    program = f"""
import structlog
from commands_platform.lib.logs import logging_config
logging_config(log_format="json", level="INFO")
structlog.get_logger("x").warning("failed", error="The token {secret} is bad")
"""

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert '"error": "The token [removed] is bad"' in finished.stdout


def render(*, timestamps: bool = False, level: str = "info", **event: object) -> str:
    values = {"level": level, "logger": "deliveries", "timestamp": "2026-02-25T12:00:00.123456Z", **event}
    return ConsoleRenderer(timestamps=timestamps)(None, level, values)


def test_the_console_shows_an_event_in_words_and_its_facts_without_ids() -> None:
    line = render(event="callback_delivered", schedule="two words", status=204, reason=None, delivery="01a2")

    assert line == 'Callback delivered: schedule="two words" status=204'


def test_a_message_of_another_library_is_unchanged() -> None:
    assert render(event="Connection to broker lost.") == "Connection to broker lost."


def test_warnings_and_errors_are_marked_and_errors_show_their_ids() -> None:
    assert render(event="breaker_opened", level="warning", delivery="01a2") == "WARNING Breaker opened"
    assert render(event="it_failed", level="error", delivery="01a2") == "ERROR It failed: delivery=01a2 [deliveries]"


def test_a_line_has_a_timestamp_only_if_asked_for() -> None:
    assert render(timestamps=True, event="worker_ready") == "2026-02-25T12:00:00.123Z Worker ready"
    assert render(event="worker_ready") == "Worker ready"


def test_a_value_cannot_control_the_terminal() -> None:
    assert render(event="schedule_created", schedule="red\x1b[31m\n").isprintable()
