from __future__ import annotations

from collections.abc import Iterator

import pytest

from deliveries.sender import Sender
from tests.deliveries.senders import make_sender
from tests.proxy import Proxy


@pytest.fixture
def sender() -> Sender:
    return make_sender()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running
