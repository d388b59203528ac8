"""The checks of `make check` and `make coverage` find the mistakes that they look for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import coverage_floor
from tests.coverage_floor import coverage_by_package
from tests.file_sizes import percentile_90, too_long
from tests.production_files import ROOT


def write_report(path: Path, **covered_lines: int) -> Path:
    """Writes a report with one file of 100 lines and no branches for each package."""
    summaries = {
        f"{package}/module.py": {
            "summary": {"covered_lines": covered, "covered_branches": 0, "num_statements": 100, "num_branches": 0}
        }
        for package, covered in covered_lines.items()
    }
    path.write_text(json.dumps({"files": summaries}))
    return path


def test_a_file_of_more_than_400_lines_is_too_long() -> None:
    assert list(too_long({"a.py": 400, "b.py": 401})) == ["b.py has 401 lines. At most 400 are allowed: split it."]


def test_the_90th_percentile_is_a_size_that_nine_of_ten_files_do_not_exceed() -> None:
    assert percentile_90({f"{size}.py": size for size in range(1, 11)}) == 9


def test_coverage_counts_lines_and_branches_of_each_package() -> None:
    one = {"covered_lines": 8, "covered_branches": 1, "num_statements": 10, "num_branches": 2}
    two = {"covered_lines": 6, "covered_branches": 0, "num_statements": 6, "num_branches": 0}
    report = {"files": {"storage/a.py": {"summary": one}, "storage/b.py": {"summary": two}}}

    assert coverage_by_package(report) == {"storage": pytest.approx(100 * 15 / 18)}


def test_a_package_below_the_floor_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage_floor.main(write_report(tmp_path / "good.json", storage=90, events=95)) == 0
    assert coverage_floor.main(write_report(tmp_path / "bad.json", storage=89, events=95)) == 1
    assert "below 90 %: storage." in capsys.readouterr().err


def test_a_report_without_files_fails_the_check(tmp_path: Path) -> None:
    assert coverage_floor.main(write_report(tmp_path / "empty.json")) == 1


def test_make_without_a_target_lists_the_targets() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, text=True).stdout

    for target in ("run", "test", "coverage", "bench", "check", "check-size", "check-types"):
        assert f"make {target} " in printed
