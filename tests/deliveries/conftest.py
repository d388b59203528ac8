from __future__ import annotations

import pytest

from deliveries.sender import Sender
from tests.deliveries.senders import make_sender


@pytest.fixture
def sender() -> Sender:
    return make_sender()
