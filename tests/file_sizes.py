"""`python -m tests.file_sizes`: fails if a Python file has too many lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from tests.production_files import ROOT, first_party_packages

MAX_LINES = 400


def file_sizes(root: Path) -> dict[str, int]:
    """Returns the number of lines of each Python file of ours, generated migrations apart."""
    directories = (*first_party_packages(root), "harness", "tests", "benchmarks")
    paths = [path for name in directories for path in (root / name).rglob("*.py") if "migrations" not in path.parts]
    return {path.relative_to(root).as_posix(): len(path.read_text().splitlines()) for path in paths}


def too_long(sizes: dict[str, int]) -> Iterator[str]:
    for path, lines in sorted(sizes.items(), key=lambda item: -item[1]):
        if lines > MAX_LINES:
            yield f"{path} has {lines} lines. At most {MAX_LINES} are allowed: split it."


def percentile_90(sizes: dict[str, int]) -> int:
    ranked = sorted(sizes.values())
    return ranked[ceil(len(ranked) * 0.9) - 1]


def main() -> int:
    """Returns the exit status: 1 if a file is too long."""
    sizes = file_sizes(ROOT)
    problems = list(too_long(sizes))
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"{len(sizes)} files; 90 % have at most {percentile_90(sizes)} lines.\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
