"""Reads the production files: Procfile, docker-compose.yml, Dockerfile, .env.example and the code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

ROOT = Path(__file__).resolve().parents[2]

Check: TypeAlias = Callable[[Path], Iterator[str]]

INTERPOLATION = re.compile(r"\$\{(?P<name>\w+)(?:(?P<operator>:?[-?])(?P<rest>[^}]*))?\}")

_VARIABLE_LINE = re.compile(r"(?P<comment>#?)(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class Interpolation:
    """`${NAME:-default}` and its like."""

    name: str
    operator: str
    rest: str


@dataclass(frozen=True, slots=True)
class ExampleVariable:
    """A line of .env.example. If it is commented out, its value is the default."""

    value: str
    is_default: bool
    is_explained: bool


def processes(root: Path) -> dict[str, str]:
    """Returns the commands of the Procfile by name."""
    lines = (line.partition(": ") for line in (root / "Procfile").read_text().splitlines() if line.strip())
    return {name: command.strip() for name, _, command in lines}


def compose(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text())
    return content


def example_variables(root: Path) -> dict[str, ExampleVariable]:
    """Returns the variables of .env.example. A comment explains the variables that follow it."""
    variables: dict[str, ExampleVariable] = {}
    explained = False
    for line in (root / ".env.example").read_text().splitlines():
        if match := _VARIABLE_LINE.fullmatch(line):
            variables[match["name"]] = ExampleVariable(match["value"], bool(match["comment"]), explained)
        else:
            explained = line.startswith("# ")
    return variables


def interpolations(value: object) -> Iterator[Interpolation]:
    """Yields every `${…}` in the texts of a YAML value. `$$` is a dollar sign for the container."""
    if isinstance(value, dict):
        for item in value.values():
            yield from interpolations(item)
    elif isinstance(value, list):
        for item in value:
            yield from interpolations(item)
    elif isinstance(value, str):
        for match in INTERPOLATION.finditer(value.replace("$$", "")):
            yield Interpolation(match["name"], match["operator"] or "", match["rest"] or "")


def first_party_packages(root: Path) -> list[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    return [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]


def production_modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yields path and syntax tree of every module in the image."""
    paths = [root / "manage.py"]
    for package in first_party_packages(root):
        paths.extend(sorted((root / package).rglob("*.py")))
    for path in paths:
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text())


def environment_of(content: dict[str, Any], service: str) -> dict[str, Any]:
    environment: dict[str, Any] = content["services"].get(service, {}).get("environment", {})
    return environment


def dockerfile(root: Path) -> str:
    """Returns the Dockerfile with each instruction on one line."""
    return (root / "Dockerfile").read_text().replace("\\\n", " ")


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
