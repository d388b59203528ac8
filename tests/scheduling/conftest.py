"""Fixtures for the tests of scheduling."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from commands_platform.lib import clock
from scheduling import zone_rules
from tests.api import ApiClient, make_caller
from tests.scheduling.schedules import NOON, URL


@pytest.fixture
def alice(db: None) -> ApiClient:
    """Returns the client of the owner, whose command has a callback URL."""
    return ApiClient(make_caller(callback_url=URL))


@pytest.fixture
def time() -> Iterator[list[datetime]]:
    """Replaces the server's clock by the single element of a list, which is noon at first."""
    now = [NOON]
    with clock.replaced_by(lambda: now[0]):
        yield now


@pytest.fixture
def rules_2026f(time: list[datetime], settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives this process the rules of 2026f, and makes it look for other versions every time."""
    settings.TZDATA_VERSION = "2026f"
    monkeypatch.setattr(zone_rules, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(zone_rules, "_next_look_at", 0.0)
