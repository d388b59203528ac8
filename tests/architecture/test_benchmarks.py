"""Benchmarks are never run by the tests; that each can be started is held here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.__main__ import NAMES
from tests.production_files import ROOT


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_what_it_measures(name: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--help"], cwd=ROOT, capture_output=True, check=False, text=True
    )

    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"benchmarks {name}" in finished.stdout


def test_an_unknown_benchmark_is_refused_with_the_names_there_are() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nothing"], cwd=ROOT, capture_output=True, check=False, text=True
    )

    assert finished.returncode == 2
    assert all(name in finished.stderr for name in NAMES)
