"""Documents are linked, are short, and are correct as far as a program can check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auth_tokens.scopes import Scope
from commands_platform import __version__
from deliveries.models import Reason, State
from scheduling.serializers import ScheduledExecutionInput
from tests.production_files import ROOT, example_variables

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

_LINK = re.compile(r"\[[^\]]*\]\((?!https?://|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
_VARIABLE = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_broken(page: Path) -> None:
    broken = [target for target in _LINK.findall(page.read_text()) if not (page.parent / target).exists()]

    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting.extend(page.parent / target for target in _LINK.findall(page.read_text()))

    assert [page.name for page in PAGES if page.resolve() not in reached] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_has_its_four_parts_on_one_page(page: Path) -> None:
    text = page.read_text()

    assert re.findall(r"^## (Context|Decision|Consequences|Alternatives)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
    ]
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert len(text.splitlines()) < 60


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_changelog_has_an_entry_for_the_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/how-to-add.md"])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z_/]*\.?[a-z]*)`", (ROOT / page).read_text()))

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/architecture.md"])
def test_the_variables_that_a_page_names_exist(page: str) -> None:
    named = set(_VARIABLE.findall((ROOT / page).read_text()))

    assert named - example_variables(ROOT).keys() - set(Scope.values) == set()


def test_the_reference_lists_every_scope_schedule_field_delivery_state_and_reason() -> None:
    reference = (ROOT / "docs" / "api.md").read_text()

    for word in [*Scope.values, *State.values, *Reason.values, *ScheduledExecutionInput().fields]:
        assert f"`{word}`" in reference, word
