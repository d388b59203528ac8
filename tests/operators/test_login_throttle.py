"""Logging in to the admin: the limit of attempts, the log, and the length of a session."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from commands_platform.lib import clock
from commands_platform.local.ports import free_port
from commands_platform.operators import login_throttle
from commands_platform.operators.login_throttle import (
    ATTEMPTS_WINDOW,
    MAX_ATTEMPTS_PER_ACCOUNT,
    MAX_ATTEMPTS_PER_ADDRESS,
)
from tests.operators.forms import PASSWORD

WRONG = "not-the-password-of-anybody"
_numbers = count(1)


@pytest.fixture
def account(db: None) -> str:
    name = f"grace-{clock.now().timestamp()}-{next(_numbers)}"
    User.objects.create_superuser(name, password=PASSWORD)
    return name


@pytest.fixture
def address() -> str:
    """Returns an address that no other test uses."""
    number = int(clock.now().timestamp() * 1000) + next(_numbers)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@pytest.fixture
def valkey_is_away(settings: Any) -> Iterator[None]:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    yield
    login_throttle._of_this_process.cache_clear()
    login_throttle._is_away = False


def _log_in(account: str, password: str, address: str) -> Any:
    return Client(REMOTE_ADDR=address).post("/admin/login/", {"username": account, "password": password})


def _events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    lines: list[Any] = [record.msg for record in caplog.records]
    return [line for line in lines if isinstance(line, dict) and line["event"] == name]


def _block(account: str, address: str) -> None:
    for _ in range(MAX_ATTEMPTS_PER_ACCOUNT):
        assert _log_in(account, WRONG, address).status_code == 200


def test_an_account_is_blocked_after_too_many_attempts_and_the_page_says_until_when(account: str, address: str) -> None:
    _block(account, address)

    response = _log_in(account, PASSWORD, address)

    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= ATTEMPTS_WINDOW.total_seconds()
    assert "Too many attempts to log in. Try again in 15 minutes, at " in response.content.decode()


def test_a_blocked_account_is_free_again_after_its_time(account: str, address: str) -> None:
    _block(account, address)

    for item, key in login_throttle._counters(account, address):
        login_throttle._shared(settings.REDIS_URL).clear(item, key)

    assert _log_in(account, PASSWORD, address).status_code == 302


def test_other_spellings_count_for_the_same_account(account: str, address: str) -> None:
    _block(account, address)

    assert _log_in(account.upper(), PASSWORD, address).status_code == 429


def test_a_blocked_account_does_not_block_others(account: str, address: str) -> None:
    _block(f"{account}-other", address)

    assert _log_in(account, PASSWORD, address).status_code == 302


def test_an_address_is_blocked_after_too_many_attempts_for_any_accounts(account: str, address: str) -> None:
    for number in range(MAX_ATTEMPTS_PER_ADDRESS):
        login_throttle.count_attempt(account=f"{account}-{number}", address=address)

    assert _log_in(account, PASSWORD, address).status_code == 429
    assert _log_in(account, PASSWORD, "192.0.2.1").status_code == 302


def test_a_successful_login_resets_the_failures_of_its_account(account: str, address: str) -> None:
    for _ in range(3):
        for _ in range(MAX_ATTEMPTS_PER_ACCOUNT - 1):
            login_throttle.count_attempt(account=account, address="192.0.2.2")
        assert _log_in(account, PASSWORD, address).status_code == 302


@pytest.mark.usefixtures("valkey_is_away")
def test_each_process_counts_for_itself_without_valkey_and_logs_that_once(
    account: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    _block(account, address)

    assert _log_in(account, PASSWORD, address).status_code == 429
    assert len(_events(caplog, "login_throttle_counts_in_memory")) == 1


def test_failures_are_logged_with_address_and_account_and_never_with_the_password(
    account: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    _block(account, address)
    _log_in(account, PASSWORD, address)

    failed, throttled = _events(caplog, "login_failed"), _events(caplog, "login_throttled")
    assert len(failed) == MAX_ATTEMPTS_PER_ACCOUNT
    assert len(throttled) == 1
    assert {(line["account"], line["address"]) for line in failed + throttled} == {(account, address)}
    assert WRONG not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_password_in_the_wrong_field_is_not_logged(
    account: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    _log_in(PASSWORD, "x", address)

    assert _events(caplog, "login_failed")[0]["account"] is None
    assert PASSWORD not in caplog.text


def test_a_session_ends_after_eight_hours_even_in_use(account: str, address: str) -> None:
    now = clock.now()
    with time_machine.travel(now, tick=False) as traveller:
        client = Client(REMOTE_ADDR=address)
        client.post("/admin/login/", {"username": account, "password": PASSWORD})
        traveller.move_to(now + timedelta(hours=7, minutes=59))
        session = client.session
        session["used"] = True
        session.save()
        assert client.get("/admin/").status_code == 200
        traveller.move_to(now + timedelta(hours=8, seconds=1))
        assert client.get("/admin/").status_code == 302


def test_the_session_cookie_is_sent_only_to_this_site_and_hidden_from_scripts(account: str, address: str) -> None:
    cookie = _log_in(account, PASSWORD, address).cookies["sessionid"]

    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert 8 * 3600 - 60 < cookie["max-age"] <= 8 * 3600


def test_behind_a_trusted_proxy_the_clients_own_address_counts(
    account: str, address: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("192.0.2.0/24")]
    client = Client(REMOTE_ADDR="192.0.2.7", headers={"X-Forwarded-For": address})

    client.post("/admin/login/", {"username": account, "password": WRONG})

    assert _events(caplog, "login_failed")[0]["address"] == address
