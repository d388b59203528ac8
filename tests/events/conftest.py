from __future__ import annotations

import pytest

from tests.api import ApiClient, make_caller
from tests.events.hooks import URL


@pytest.fixture
def alice(db: None) -> ApiClient:
    """The owner, whose command has a callback URL."""
    return ApiClient(make_caller(callback_url=URL))
