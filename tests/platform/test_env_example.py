"""`.env.example` lists every variable that is read, with its default."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.production_files import (
    ROOT,
    ExampleVariable,
    compose,
    example_variables,
    interpolations,
    processes,
    production_modules,
)

# Variables of the system, and variables that our processes set for each other.
NOT_OURS = {"PATH", "PYTHONWARNINGS", "DJANGO_SETTINGS_MODULE"}
# They are no settings, or their value in the example is not the default.
NOT_COMPARED = {"DATABASE_URL", "REDIS_URL", "COMMANDS_LOCAL_DIR"}

_SHELL_DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
_PRINT_SETTINGS = """
from commands_platform import settings
print({name: value for name, value in vars(settings).items() if name[0].isupper() and name != "UNFOLD"})
"""


def variables_read_by_the_code() -> set[str]:
    return {name for _, tree in production_modules(ROOT) for name in _read_in(tree)} - NOT_OURS


def _read_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _reads_the_environment(node.func):
            name = node.args[0]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ" and _is_read(node):
            name = node.slice
        else:
            continue
        if isinstance(name, ast.Constant):
            yield str(name.value)


def _reads_the_environment(function: ast.expr) -> bool:
    called = ast.unparse(function)
    return called in ("os.environ.get", "os.getenv") or re.fullmatch(r"env\.[a-z]+", called) is not None


def _is_read(node: ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Load)


def variables_read_by_the_commands() -> set[str]:
    shell_variables = {name for line in processes(ROOT).values() for name, _ in _SHELL_DEFAULT.findall(line)}
    return shell_variables | {found.name for found in interpolations(compose(ROOT))}


def settings_with(variables: dict[str, str]) -> str:
    required = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": "of-this-test-only-0123456789-abcdefghijklmnopqrstuvwxyz",
        "PATH": os.environ["PATH"],
        # Makes both runs print sets in the same order.
        "PYTHONHASHSEED": "0",
    }
    run = subprocess.run(
        [sys.executable, "-c", _PRINT_SETTINGS],
        cwd=ROOT,
        env={**required, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout


def test_every_variable_that_is_read_is_listed() -> None:
    assert variables_read_by_the_code() | variables_read_by_the_commands() <= example_variables(ROOT).keys()


def test_every_variable_that_is_listed_is_read() -> None:
    assert example_variables(ROOT).keys() <= variables_read_by_the_code() | variables_read_by_the_commands()


@pytest.mark.parametrize(("name", "variable"), example_variables(ROOT).items(), ids=example_variables(ROOT))
def test_every_variable_is_explained(name: str, variable: ExampleVariable) -> None:
    assert variable.is_explained, f"no comment explains {name}"


def test_values_that_are_commented_out_are_the_defaults() -> None:
    defaults = {
        name: variable.value
        for name, variable in example_variables(ROOT).items()
        if variable.is_default and name not in NOT_COMPARED
    }

    assert settings_with(defaults) == settings_with({})


@pytest.mark.parametrize(
    ("name", "default"),
    sorted(
        {default for line in processes(ROOT).values() for default in _SHELL_DEFAULT.findall(line)}
        | {(found.name, found.rest) for found in interpolations(compose(ROOT)["services"]["web"]["ports"])}
    ),
)
def test_the_example_shows_the_defaults_of_the_commands(name: str, default: str) -> None:
    assert example_variables(ROOT)[name].value == default
