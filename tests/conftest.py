"""Fixtures that must be set up or cleaned up. Plain rows come from `tests.factories`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection

from commands_platform.lib.http import rate_limits
from deliveries import floor
from events.outbox import process_fan_out
from scheduling import uptime
from scheduling.backoff import process_backoff
from tests.api import ApiClient, make_caller
from tests.receiver import Receiver
from tests.threads import Threads


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts the longest tests first, whatever the random order is, so that all workers end at about the same time."""
    items.sort(key=lambda item: 0 if "stories" in item.path.parts else 1 if item.path.name == "test_up.py" else 2)


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_not_looked_up() -> None:
    """Keeps each test client from looking up every static file first, which takes most of the time of a small test."""
    settings.WHITENOISE_USE_FINDERS = False


@pytest.fixture(autouse=True)
def _dispatchers_start_fresh() -> None:
    """Makes each test start like a new server process, without state from earlier tests."""
    uptime._process_looks.cache_clear()
    process_backoff.cache_clear()
    process_fan_out.cache_clear()


@pytest.fixture(autouse=True)
def _callers_start_with_their_whole_rate_limit() -> None:
    """Keeps the requests of other tests from counting."""
    rate_limits.process_limiter.cache_clear()
    rate_limits.process_limiter().storage.key_prefix = f"rates-of-a-test-{uuid4()}"


@pytest.fixture
def floor_of_its_own(db: None) -> Iterator[None]:
    """Lets a test set the floor of the queue. It is a sequence, so it would outlive the test's transaction."""
    floor._process_pace.cache_clear()
    yield
    floor._process_pace.cache_clear()
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('deliveries_queue_floor', 0)")


@pytest.fixture
def threads() -> Iterator[Threads]:
    with ThreadPoolExecutor(max_workers=4) as executor:
        yield Threads(executor)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def alice(db: None) -> ApiClient:
    """Returns the owner's client, with her organization, command, user, key and token."""
    return ApiClient(make_caller())


@pytest.fixture
def mallory(db: None) -> ApiClient:
    """Returns a stranger's client, with a valid key and token of another organization."""
    return ApiClient(make_caller())
