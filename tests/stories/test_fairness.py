"""An organization gets all its callbacks, whatever another organization does. The benchmark measures how late."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.aims import missed_aim
from harness.processes import ROOT


@pytest.mark.xdist_group("stories")
@pytest.mark.timeout(180)
def test_no_callback_stays_behind_beside_all_bad_neighbours_at_once() -> None:
    command = [sys.executable, "-m", "benchmarks", "fairness", "--quick", "--together"]

    finished = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)

    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout)
    assert {"origins", "hosts", "names", "herd", "hooks"} < set(result["scenario"].split("+"))
    assert result["behind"] == 0
    # The others really did something.
    assert sum(result["states_of_other"].values()) > 1_000


@pytest.mark.parametrize(
    ("ratio", "behind", "is_quick", "expected"),
    [
        (2.0, 0, False, ""),
        (2.01, 0, False, "more than 2 times"),
        (2.01, 0, True, ""),
        (1.0, 3, False, "3 stayed behind"),
        (1.0, 3, True, "3 stayed behind"),
    ],
)
def test_the_benchmark_knows_when_a_scenario_misses_the_aim(
    ratio: float, behind: int, is_quick: bool, expected: str
) -> None:
    assert missed_aim(ratio=ratio, behind=behind, is_quick=is_quick) == expected
