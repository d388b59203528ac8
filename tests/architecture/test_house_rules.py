"""The house rules that a program can check: names that mean one thing, plain English, and files of a readable size."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.prose import Sentence, markdown_sentences, python_sentences
from tests.production_files import ROOT, first_party_packages

# Django wants every management command to be called Command.
CLASSES_WITH_ONE_NAME = {"Command"}
# These settings of a benchmark override settings of the platform.
OVERRIDES_SETTINGS = {"benchmarks/support/bare_settings.py"}

ODD_PROSE = {
    "a clause as subject": re.compile(r"^\W*What (?!.*\?$)"),
    "a fronted object": re.compile(r"^\W*Of (a|an|those|several|which) "),
    "whoever": re.compile(r"\bwhoever\b", re.IGNORECASE),
    "a result as a tail": re.compile(r"; (how many|whether|how long)(?=[. ]|$)"),
}
# Names of tests that begin with a clause or a fronted object.
ODD_TEST_NAME = re.compile(r"^ *(?:async )?def (test_(?:what|whoever|where|who|of|for)_\w*)", re.MULTILINE)
UNKNOWN_DOCUMENT = re.compile(r"(?i:contract)|EXTENSIONS")


@cache
def own_files() -> tuple[Path, ...]:
    """Returns every module and document of the repository, generated migrations apart."""
    found = [*ROOT.glob("*.py"), *ROOT.glob("*.md")]
    for directory in (*first_party_packages(ROOT), "harness", "tests", "benchmarks", "docs"):
        found += [path for path in (ROOT / directory).rglob("*.*") if path.suffix in (".py", ".md")]
    return tuple(sorted(path for path in found if "migrations" not in path.parts))


@cache
def product_modules() -> dict[str, ast.Module]:
    """Returns the syntax trees of everything but the tests, by path."""
    packages = (*first_party_packages(ROOT), "harness", "benchmarks")
    paths = {path.relative_to(ROOT).as_posix(): path for path in own_files() if path.suffix == ".py"}
    return {name: ast.parse(path.read_text()) for name, path in paths.items() if name.startswith(packages)}


def constants_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields the constants of a module with their values, as source code."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        value = ast.unparse(node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id.isupper() and not value.startswith("TypeVar("):
                yield target.id.lstrip("_"), value


@cache
def sentences() -> tuple[Sentence, ...]:
    found: list[Sentence] = []
    for path in own_files():
        if path.suffix == ".py":
            found += python_sentences(path, ROOT)
        elif path.suffix == ".md":
            found += markdown_sentences(path, ROOT)
    return tuple(found)


def test_two_constants_of_one_name_have_one_value() -> None:
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, tree in product_modules().items():
        if path in OVERRIDES_SETTINGS:
            continue
        for name, value in constants_of(tree):
            values[name][value].append(path)

    shared = {name: dict(found) for name, found in values.items() if len(found) > 1}
    assert shared == {}


def test_no_two_modules_have_classes_of_one_name() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path, tree in product_modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(path)

    shared = {name: paths for name, paths in modules.items() if len(paths) > 1 and name not in CLASSES_WITH_ONE_NAME}
    assert shared == {}


@pytest.mark.parametrize("kind", ODD_PROSE)
def test_prose_is_plain_english(kind: str) -> None:
    odd = [
        f"{sentence.path}:{sentence.line}: {sentence.text}"
        for sentence in sentences()
        if ODD_PROSE[kind].search(sentence.text)
    ]

    assert odd == []


def test_names_of_tests_are_plain_english() -> None:
    tests = [path for path in own_files() if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")]

    assert [name for path in tests for name in ODD_TEST_NAME.findall(path.read_text())] == []


def test_no_text_refers_to_a_document_outside_the_repository() -> None:
    unknown = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in own_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNKNOWN_DOCUMENT.search(line)
    ]

    assert unknown == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What recurs is queued early.", "a clause as subject"),
        ("**What is saved** has one reading.", "a clause as subject"),
        ("Of a herd, some are taken.", "a fronted object"),
        ("Asks whoever is there.", "whoever"),
        ("Removes old rows; how many.", "a result as a tail"),
        ("Removes old rows; how many there were", "a result as a tail"),
    ],
)
def test_odd_prose_is_recognized(text: str, kind: str) -> None:
    assert ODD_PROSE[kind].search(text)


@pytest.mark.parametrize("text", ["What happens when Valkey is away?", "Says what it does.", "The whole of a herd."])
def test_plain_prose_is_accepted(text: str) -> None:
    assert not any(pattern.search(text) for pattern in ODD_PROSE.values())
