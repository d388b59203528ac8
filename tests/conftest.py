"""Fixtures that have a life; plain rows come from `tests.factories`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings

from scheduling import uptime
from scheduling.backoff import process_backoff
from tests.api import ApiClient, make_caller
from tests.receiver import Receiver


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever the random order is, the long ones begin first: two workers then end at about the same time."""
    items.sort(key=lambda item: 0 if "stories" in item.path.parts else 1 if item.path.name == "test_up.py" else 2)


@pytest.fixture(scope="session", autouse=True)
def _static_files_stay_where_they_are() -> None:
    """Each test client would look up every static file of the admin first, which is most of a small test's time."""
    settings.WHITENOISE_USE_FINDERS = False


@pytest.fixture(autouse=True)
def _dispatchers_begin_anew() -> None:
    """Each test's server comes up at its first look, with nothing left from the tests before."""
    uptime._process_looks.cache_clear()
    process_backoff.cache_clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def alice(db: None) -> ApiClient:
    """The owner: her organization, command, user, key and token."""
    return ApiClient(make_caller())


@pytest.fixture
def mallory(db: None) -> ApiClient:
    """A stranger with a valid key and token of another organization."""
    return ApiClient(make_caller())
