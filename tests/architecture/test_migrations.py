"""The names of migrations say what they do."""

from __future__ import annotations

import re

import pytest

from tests.production_files import ROOT, first_party_packages

MIGRATIONS = sorted(
    path for package in first_party_packages(ROOT) for path in (ROOT / package).glob("migrations/[0-9]*.py")
)


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_migration_is_named(path: object) -> None:
    assert not re.search(r"_auto_|_alter_.*_and_more", str(path))
