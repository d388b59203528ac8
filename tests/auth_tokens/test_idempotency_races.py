"""Requests with the same `Idempotency-Key` at the same time, and requests that fail."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError, connection, transaction

from auth_tokens.idempotency import KeyedRequest
from auth_tokens.models import IdempotentRequest
from commands_platform.lib.errors import BusyError
from storage import services
from storage.models import Item
from tests.api import ApiClient, ApiResponse
from tests.locks import wait_for_waiters
from tests.threads import Threads

pytestmark = pytest.mark.django_db(transaction=True)

STORAGE = "/v1/platform/storage/"
REPLAYED = "Idempotency-Replayed"


def add(client: ApiClient, amount: int = 1) -> ApiResponse:
    body = {"op": "increment", "params": {"key": "n", "amount": amount}}
    return client.post(STORAGE, body, headers={"Idempotency-Key": "k"})


def test_one_of_two_requests_at_once_runs(alice: ApiClient, threads: Threads) -> None:
    alice.post(STORAGE, {"op": "set", "params": {"key": "n", "value": 10}})

    with transaction.atomic():
        Item.objects.select_for_update().get()
        running = threads.start(lambda: add(alice))
        wait_for_waiters()
        second = threads.start(lambda: add(alice)).result()

    assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_progress")
    assert second["Retry-After"] == "1"
    assert running.result().json() == 11
    assert add(alice)[REPLAYED] == "true"
    assert Item.objects.get().value == 11


def test_a_request_that_ends_between_the_look_and_the_lock_of_another_is_replayed(
    alice: ApiClient, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = KeyedRequest._look
    others: list[ApiResponse | None] = []

    def late_look(self: KeyedRequest) -> None:
        look(self)
        if not others:
            # The other request saw no answer either, and has ended by now.
            others.append(None)
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK; BEGIN")
            others[0] = threads.start(lambda: add(alice)).result()

    monkeypatch.setattr(KeyedRequest, "_look", late_look)

    answer = add(alice)

    assert others[0] is not None
    assert answer[REPLAYED] == "true"
    assert answer.json() == others[0].json() == 1
    assert Item.objects.get().value == 1


def test_a_request_that_fails_can_be_sent_again(alice: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    increment = services.increment_item

    def fail(**values: Any) -> None:
        increment(**values)
        raise errors.pop()

    errors = [RuntimeError(), BusyError()]
    monkeypatch.setattr("storage.views.services.increment_item", fail)
    assert add(alice).status_code == 503
    with pytest.raises(RuntimeError):
        add(alice)
    monkeypatch.undo()

    assert not IdempotentRequest.objects.exists()
    assert not Item.objects.exists()
    assert add(alice).json() == 1


def test_nothing_of_a_request_is_kept_if_its_answer_cannot_be_stored(
    alice: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bool:
        raise DataError

    monkeypatch.setattr(KeyedRequest, "_store", fail)

    assert add(alice).status_code == 400
    assert not Item.objects.exists()


def test_an_answer_after_an_error_of_the_database_is_not_stored(
    alice: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'x'::int")

    monkeypatch.setattr("storage.views.services.increment_item", fail)

    assert add(alice).status_code == 400
    assert not IdempotentRequest.objects.exists()
    monkeypatch.undo()
    assert add(alice).json() == 1
