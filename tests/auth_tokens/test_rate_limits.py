"""Rate limits of API keys, and of client addresses without a valid key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import time_machine
from django.test import Client

from auth_tokens.models import ApiKey
from commands_platform.lib import broker
from commands_platform.lib.http import rate_limits
from commands_platform.lib.http.rate_limits import RateLimiter, process_limiter
from commands_platform.lib.rates import Rate, parse_rate
from tests.api import ApiClient, ApiResponse
from tests.factories import make_api_key

ME = "/v1/me/"
# A whole minute.
MINUTE = 1_900_000_020 // 60 * 60


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Stops the clock at the beginning of a minute."""
    with time_machine.travel(MINUTE, tick=False) as traveller:
        yield traveller


def limited(client: ApiClient, amount: int) -> ApiClient:
    """Returns the client of a caller whose key may send this number of requests a minute."""
    caller = client.caller.with_scopes("DIRECTORY")
    ApiKey.objects.filter(pk=caller.api_key.pk).update(rate_limit=amount)
    return ApiClient(caller)


def statuses(client: ApiClient, count: int) -> list[int]:
    return [client.get(ME).status_code for _ in range(count)]


def remaining(response: ApiResponse) -> int:
    return int(response["X-RateLimit-Remaining"])


@pytest.mark.usefixtures("clock")
def test_a_key_has_as_many_requests_as_its_limit(alice: ApiClient) -> None:
    client = limited(alice, 3)

    answers = [client.get(ME) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [remaining(answer) for answer in answers] == [2, 1, 0, 0, 0]
    assert answers[3].json()["code"] == "throttled"
    assert 60 < int(answers[3]["Retry-After"]) <= 100


@pytest.mark.usefixtures("clock")
def test_answers_tell_about_the_limit(alice: ApiClient) -> None:
    response = limited(alice, 10).get(ME)

    assert response["X-RateLimit-Limit"] == "10"
    assert response["X-RateLimit-Remaining"] == "9"
    assert response["X-RateLimit-Reset"] == str(MINUTE + 60)
    assert response["RateLimit"] == '"default";r=9;t=60'
    assert response["RateLimit-Policy"] == '"default";q=10;w=60'


def test_errors_and_refused_requests_tell_and_count_too(alice: ApiClient) -> None:
    client = limited(alice, 10)

    found = [client.get("/v1/users/nobody/"), client.get("/v1/platform/scheduling/"), client.post(ME), client.get(ME)]

    assert [answer.status_code for answer in found] == [404, 403, 405, 200]
    assert [remaining(answer) for answer in found] == [9, 8, 7, 6]


def test_the_limit_comes_from_the_settings_unless_the_key_has_its_own(alice: ApiClient, settings: Any) -> None:
    settings.API_RATE_LIMIT = Rate(7, 3600)

    assert alice.get(ME)["RateLimit-Policy"] == '"default";q=7;w=3600'
    assert limited(alice, 5).get(ME)["X-RateLimit-Limit"] == "5"


def test_zero_means_no_limit(alice: ApiClient, settings: Any) -> None:
    assert "X-RateLimit-Limit" not in limited(alice, 0).get(ME)
    settings.API_RATE_LIMIT = None

    assert "X-RateLimit-Limit" not in alice.get(ME)


def test_the_requests_of_other_keys_do_not_count(alice: ApiClient, mallory: ApiClient) -> None:
    client = limited(alice, 1)

    assert statuses(client, 2) == [200, 429]
    assert statuses(limited(alice, 1), 1) == [200]
    assert statuses(limited(mallory, 1), 1) == [200]


def test_requests_count_in_all_processes_together(alice: ApiClient) -> None:
    client = limited(alice, 2)
    prefix = process_limiter().storage.key_prefix

    found = []
    for _ in range(3):
        process_limiter.cache_clear()
        process_limiter().storage.key_prefix = prefix
        found += statuses(client, 1)

    assert found == [200, 200, 429]


def test_a_window_of_the_periods_length_never_holds_many_more_requests_than_the_limit(
    alice: ApiClient, clock: time_machine.Traveller
) -> None:
    client = limited(alice, 10)
    clock.move_to(MINUTE + 50)
    assert statuses(client, 11) == [200] * 10 + [429]
    refused = client.get(ME)

    clock.move_to(MINUTE + 65)
    assert statuses(client, 2) == [429, 429]

    clock.move_to(MINUTE + 50 + int(refused["Retry-After"]))
    assert statuses(client, 2) == [200, 429]
    clock.move_to(MINUTE + 90)
    assert statuses(client, 5) == [200] * 4 + [429]
    clock.move_to(MINUTE + 180)
    assert statuses(client, 1) == [200]


def test_a_caller_that_goes_on_asking_does_not_wait_longer(alice: ApiClient, clock: time_machine.Traveller) -> None:
    client = limited(alice, 10)
    statuses(client, 10)
    waits = []
    for second in range(1, 50):
        clock.move_to(MINUTE + second)
        waits.append(int(client.get(ME)["Retry-After"]) + second)

    assert len(set(waits)) == 1
    clock.move_to(MINUTE + waits[0])
    assert statuses(client, 1) == [200]


class Counting:
    """Counts the round trips to Valkey."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limiter: RateLimiter) -> None:
        self.trips = 0
        for name in ("incr", "get"):
            monkeypatch.setattr(limiter.storage, name, self._counted(getattr(limiter.storage, name)))

    def _counted(self, method: Any) -> Any:
        def run(*args: Any) -> Any:
            self.trips += 1
            return method(*args)

        return run


@pytest.mark.usefixtures("clock")
def test_a_busy_key_needs_few_round_trips_and_is_still_counted_exactly(
    alice: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, counting = Rate(6000, 60), Counting(monkeypatch, process_limiter())

    allowed = [process_limiter().take("key/1", rate) for _ in range(6100)]

    assert [each.wait > 0 for each in allowed if each] == [False] * 6000 + [True] * 100
    assert [each.remaining for each in allowed if each][:6000] == list(range(5999, -1, -1))
    assert counting.trips < 120


def test_a_quiet_key_takes_no_more_than_it_uses(clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch, process_limiter())

    for second in range(0, 60, 2):
        clock.move_to(MINUTE + second)
        allowance = process_limiter().take("key/1", Rate(6000, 60))

    assert allowance is not None
    assert allowance.remaining == 6000 - 30
    assert counting.trips == 31


@pytest.mark.parametrize("key", [None, "nonsense", "cmdp_00000000_" + "0" * 49])
@pytest.mark.usefixtures("clock", "db")
def test_an_address_without_a_valid_key_is_refused_after_thirty_requests(key: str | None) -> None:
    headers = {} if key is None else {"X-API-KEY": key}

    answers = [Client().get(ME, headers=headers) for _ in range(32)]

    assert [answer.status_code for answer in answers] == [401] * 30 + [429] * 2
    assert answers[0]["X-RateLimit-Limit"] == "30"
    assert answers[31].json()["code"] == "throttled"
    assert Client().get(ME, REMOTE_ADDR="192.0.2.7").status_code == 401


@pytest.mark.usefixtures("clock")
def test_a_valid_key_works_beside_invalid_ones_of_the_same_address(alice: ApiClient) -> None:
    for _ in range(31):
        alice.get(ME, key=None)

    assert alice.get(ME, key=None).status_code == 429
    assert alice.get(ME).status_code == 200


@pytest.fixture
def valkey_is_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the limiter look for Valkey where nothing listens."""
    monkeypatch.setattr(broker, "_outage", broker._Outage())
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    process_limiter.cache_clear()
    yield
    process_limiter.cache_clear()


@pytest.mark.usefixtures("valkey_is_away")
def test_requests_pass_while_valkey_is_away_and_the_log_says_so_once(
    alice: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, counting = limited(alice, 1), Counting(monkeypatch, process_limiter())

    with structlog.testing.capture_logs() as log:
        answers = [client.get(ME) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert "X-RateLimit-Limit" not in answers[0]
    assert [entry["event"] for entry in log].count("rate_limits_not_counted") == 1
    # Later requests do not try again, so they do not wait.
    assert counting.trips == 1


def test_requests_count_again_when_valkey_is_back(
    alice: ApiClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = limited(alice, 1)
    with monkeypatch.context() as away:
        away.setattr(broker, "_outage", broker._Outage())
        broker.note_away()
        assert statuses(client, 2) == [200, 200]

    with structlog.testing.capture_logs() as log:
        assert statuses(client, 2) == [200, 429]
    assert "rate_limits_counted_again" in [entry["event"] for entry in log]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", None),
        ("6000/min", Rate(6000, 60)),
        ("1/s", Rate(1, 1)),
        ("100/hour", Rate(100, 3600)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "x", "5", "0/min", "5/fortnight", "-1/s", "5 / s", "٣/s", "1" * 10 + "/s"])
def test_another_text_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="6000/min"):
        parse_rate(text)


def test_the_number_of_callers_that_are_remembered_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_CALLERS_KEPT", 3)
    limiter = process_limiter()

    for number in range(10):
        limiter.take(f"address/{number}", Rate(30, 60))

    assert len(limiter._portions) <= 3


def test_a_key_is_made_with_a_limit_of_its_own(alice: ApiClient) -> None:
    _, key = make_api_key(alice.caller.organization, scopes=["DIRECTORY"], rate_limit=12)

    assert alice.get(ME, key=key, token=None)["X-RateLimit-Limit"] == "12"
