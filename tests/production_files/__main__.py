"""`python -m tests.production_files`: prints every mistake in the production files."""

from __future__ import annotations

import sys

from tests.production_files import CHECKS, ROOT


def main() -> int:
    """Returns the exit status: 1 if there is a mistake."""
    problems = [problem for check in CHECKS for problem in check(ROOT)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if not problems:
        sys.stdout.write("The production files agree with the code and with each other.\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
