from __future__ import annotations

import pytest

from tests.api import ApiClient
from tests.directory.managers import manager_of


@pytest.fixture
def manager(alice: ApiClient) -> ApiClient:
    """Returns a client with a key that manages Alice's organization, and has every other scope too."""
    return manager_of(alice)


@pytest.fixture
def foreign_manager(mallory: ApiClient) -> ApiClient:
    return manager_of(mallory)
