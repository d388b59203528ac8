"""A deliverer that is asked to stop claims no more, whichever signal it gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import state

from deliveries import tasks


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    yield
    state.should_stop = state.should_terminate = None


@pytest.mark.parametrize("asked", [EX_OK, EX_FAILURE, True], ids=["SIGTERM", "SIGINT", "true"])
@pytest.mark.parametrize("name", ["should_stop", "should_terminate"])
def test_a_signal_stops_the_sender(name: str, asked: int | bool) -> None:
    """After SIGTERM, Celery notes the exit status 0."""
    assert not tasks._is_stopping()

    setattr(state, name, asked)

    assert tasks._is_stopping()
