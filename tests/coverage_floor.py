"""`python -m tests.coverage_floor REPORT`: fails if the branch coverage of a package is below the floor.

REPORT is the output of `coverage json`.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

MIN_PERCENT = 90.0


def coverage_by_package(report: dict[str, Any]) -> dict[str, float]:
    """Returns the percentage of lines and branches that ran, by top-level package."""
    covered: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for path, file in report["files"].items():
        package, summary = path.partition("/")[0], file["summary"]
        covered[package] += summary["covered_lines"] + summary["covered_branches"]
        total[package] += summary["num_statements"] + summary["num_branches"]
    return {package: 100 * covered[package] / total[package] for package in sorted(total) if total[package]}


def main(report: Path) -> int:
    """Returns the exit status: 1 if a package is below the floor."""
    packages = coverage_by_package(json.loads(report.read_text()))
    for package, percent in packages.items():
        sys.stdout.write(f"{percent:6.1f} %  {package}\n")
    low = [package for package, percent in packages.items() if percent < MIN_PERCENT]
    if low or not packages:
        sys.stderr.write(f"Branch coverage is below {MIN_PERCENT:.0f} %: {', '.join(low) or 'nothing was measured'}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
