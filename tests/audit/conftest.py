from __future__ import annotations

import pytest

from audit.sealing import _process_sealer


@pytest.fixture(autouse=True)
def _sealing_starts_fresh() -> None:
    _process_sealer.cache_clear()
