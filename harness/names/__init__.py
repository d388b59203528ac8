"""Names for tests and benchmarks: some whose lookup hangs, and some that lead to loopback."""

from __future__ import annotations

import os
from pathlib import Path

_DIRECTORY = Path(__file__).parent


def hanging_name(number: int) -> str:
    """Returns a name whose lookup fails after 20 s. There is one for each number."""
    return f"receiver-{number}.hangs.test"


def answering_name(number: int) -> str:
    """Returns a name of 127.0.0.1. There is one for each number."""
    return f"receiver-{number}.answers.test"


def environment_with_names() -> dict[str, str]:
    """Returns the variables with which the processes of a platform know these names."""
    path = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{_DIRECTORY}{os.pathsep}{path}" if path else str(_DIRECTORY)}
