"""Hints: few of them wait, and an outage of the broker delays nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import ConnectionError as NoConnectionError

from commands_platform.lib import broker
from deliveries.tasks import deliver_pending
from harness.platform import wait_until


class FakeTask:
    """Counts how often it is sent. While `error` is set, sending it fails."""

    name = deliver_pending.name
    error: Exception | None = None
    sent = 0

    def apply_async(self, *, retry: bool) -> None:
        if self.error is not None:
            raise self.error
        self.sent += 1


@pytest.fixture
def task() -> FakeTask:
    return FakeTask()


@pytest.fixture(autouse=True)
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The process's knowledge of an outage. Each test has its own."""
    monkeypatch.setattr(broker, "_PROBE_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(broker, "_outage", broker._Outage())
    yield broker._outage
    wait_until(lambda: not broker._outage.lasts())


@pytest.fixture
def queue_key() -> Iterator[str]:
    key, client = broker._queue_key(deliver_pending.name), broker.client()
    client.delete(key)
    yield key
    client.delete(key)


def test_a_hint_waits_in_the_queue_of_its_task(queue_key: str) -> None:
    assert broker.send_hint(deliver_pending)

    assert broker.client().llen(queue_key) == 1


def test_a_full_queue_gets_no_more_hints(monkeypatch: pytest.MonkeyPatch, task: FakeTask, queue_key: str) -> None:
    monkeypatch.setattr(broker, "_MAX_WAITING", 3)
    broker.client().rpush(queue_key, *"abc")

    assert broker.send_hint(task)

    assert task.sent == 0


@pytest.mark.parametrize("error", [OperationalError("refused"), NoConnectionError("refused"), TimeoutError("late")])
@pytest.mark.usefixtures("queue_key")
def test_after_a_failure_hints_are_dropped_until_the_broker_answers(
    monkeypatch: pytest.MonkeyPatch, task: FakeTask, error: Exception
) -> None:
    answers, client = [False], broker.client()

    class Client:
        def ping(self) -> bool:
            if not answers[0]:
                raise NoConnectionError("refused")
            return True

        def llen(self, key: str) -> Any:
            return client.llen(key)

    monkeypatch.setattr(broker, "client", Client)
    task.error = error
    assert not broker.send_hint(task)
    task.error = None

    assert not broker.send_hint(task)
    assert task.sent == 0

    answers[0] = True
    wait_until(lambda: broker.send_hint(task))
    assert task.sent == 1
