"""Each benchmark starts as a command. The tests never run one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.production_files import ROOT

BENCHMARKS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in ("__init__", "__main__")
)


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_says_what_it_measures(name: str) -> None:
    finished = run_benchmarks(name, "--help")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"benchmarks {name}" in finished.stdout


def test_an_unknown_benchmark_is_refused_and_the_known_ones_are_listed() -> None:
    finished = run_benchmarks("nothing")

    assert finished.returncode == 2
    assert all(name in finished.stderr for name in BENCHMARKS)
