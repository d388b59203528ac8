from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from harness.platform import RunningPlatform
from tests.receiver import Receiver
from tests.stories.platform import Team, running_platform


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """Runs one platform for all stories of this process. A story that kills a part starts it again."""
    with running_platform() as platform:
        yield platform


@pytest.fixture
def team(platform: RunningPlatform, receiver: Receiver) -> Team:
    return Team(platform, callback_url=receiver.url, name=f"Team {uuid4()}")
