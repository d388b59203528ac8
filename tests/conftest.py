"""Fixtures that have a life; plain rows come from `tests.factories`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.api import ApiClient, make_caller
from tests.receiver import Receiver


@pytest.fixture(scope="session", autouse=True)
def _static_files_stay_where_they_are() -> None:
    """Each test client would look up every static file of the admin first, which is most of a small test's time."""
    settings.WHITENOISE_USE_FINDERS = False


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
