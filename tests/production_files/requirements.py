"""Checks that the pinned requirements cover what the code imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.production_files.reading import first_party_packages, processes, production_modules

# Production never runs these. They may import what only the embedded extra brings.
EMBEDDED_ONLY = ("commands_platform/local/", "commands_platform/management/commands/up.py")

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_DOTTED = re.compile(r"[a-z_]\w*(\.\w+)+")


def requirements_cover_the_imports(root: Path) -> Iterator[str]:
    production, embedded = _pinned(root, "production"), _pinned(root, "embedded")
    own = set(first_party_packages(root))
    for path, tree in production_modules(root):
        allowed = production | embedded if path.startswith(EMBEDDED_ONLY) else production
        names = set(_imports(tree)) | (_dotted_names(tree) if path == "commands_platform/settings.py" else set())
        for name in sorted(names - own - sys.stdlib_module_names):
            if not allowed & _distributions_of(name):
                yield f"{path} imports {name}, which its requirements file does not pin."
    for process, command in processes(root).items():
        for name in re.findall(r"python -m (\w+)", command):
            if not production & _distributions_of(name):
                yield f"The process {process!r} runs {name}, which requirements/production.txt does not pin."


def _pinned(root: Path, name: str) -> set[str]:
    pins = _PIN.findall((root / "requirements" / f"{name}.txt").read_text())
    return {_normalized(pin) for pin in pins}


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@cache
def _installed() -> dict[str, set[str]]:
    return {name: {_normalized(one) for one in of} for name, of in packages_distributions().items()}


def _distributions_of(module: str) -> set[str]:
    return _installed().get(module, set())


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yields the top-level packages that are imported at any depth, without imports only for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        else:
            yield from _imports(node)


def _dotted_names(tree: ast.AST) -> set[str]:
    """Returns the packages that settings name in strings, such as apps and middleware."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    roots = {text.partition(".")[0] for text in texts if _DOTTED.fullmatch(text) or text in _installed()}
    return {root for root in roots if root in _installed()}
