"""What can be checked of the production files without a Docker engine: `python -m tests.production_files`.

Each check takes the project's directory and yields one sentence for each thing that is wrong.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, TypeAlias

import yaml

ROOT = Path(__file__).resolve().parent.parent

Check: TypeAlias = Callable[[Path], Iterator[str]]

SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD")
# What docker-compose.yml sets itself, and what only development needs.
NOT_FOR_COMPOSE = frozenset({"COMMANDS_EMBEDDED", "COMMANDS_LOCAL_DIR", "COMMANDS_PROCESS_NAME", "TEST_DATABASE_NAME"})
# Production never runs these. They may import what only the embedded extra brings.
EMBEDDED_ONLY = ("commands_platform/local/", "commands_platform/management/commands/up.py")

_INTERPOLATION = re.compile(r"\$\{(?P<name>\w+)(?:(?P<operator>:?[-?])(?P<rest>[^}]*))?\}")
_VARIABLE_LINE = re.compile(r"(?P<comment>#?)(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_DOTTED = re.compile(r"[a-z_]\w*(\.\w+)+")


@dataclass(frozen=True, slots=True)
class Interpolation:
    """`${NAME:-default}` and its like."""

    name: str
    operator: str
    rest: str


@dataclass(frozen=True, slots=True)
class ExampleVariable:
    """A line of .env.example: its value, and whether it is commented out and so shows a default."""

    value: str
    is_default: bool
    is_explained: bool


def processes(root: Path) -> dict[str, str]:
    """The Procfile's commands by their names."""
    lines = (line.partition(": ") for line in (root / "Procfile").read_text().splitlines() if line.strip())
    return {name: command.strip() for name, _, command in lines}


def compose(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text())
    return content


def example_variables(root: Path) -> dict[str, ExampleVariable]:
    """What .env.example lists. A paragraph explains its variables before the first of them."""
    variables: dict[str, ExampleVariable] = {}
    explained = False
    for line in (root / ".env.example").read_text().splitlines():
        if match := _VARIABLE_LINE.fullmatch(line):
            variables[match["name"]] = ExampleVariable(match["value"], bool(match["comment"]), explained)
        else:
            explained = line.startswith("# ")
    return variables


def interpolations(value: object) -> Iterator[Interpolation]:
    """Every `${…}` in the texts of a YAML value; `$$` stands for a dollar of the container's own."""
    if isinstance(value, dict):
        for item in value.values():
            yield from interpolations(item)
    elif isinstance(value, list):
        for item in value:
            yield from interpolations(item)
    elif isinstance(value, str):
        for match in _INTERPOLATION.finditer(value.replace("$$", "")):
            yield Interpolation(match["name"], match["operator"] or "", match["rest"] or "")


def first_party_packages(root: Path) -> list[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    return [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]


def production_modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """The path and the syntax tree of every module that the image holds."""
    paths = [root / "manage.py"]
    for package in first_party_packages(root):
        paths.extend(sorted((root / package).rglob("*.py")))
    for path in paths:
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text())


def services_run_what_the_procfile_runs(root: Path) -> Iterator[str]:
    services = compose(root)["services"]
    for name, line in processes(root).items():
        command = services.get(name, {}).get("command")
        if command is None:
            yield f"docker-compose.yml has no service {name!r}, or it has no command."
        elif [" ".join(str(part).replace("$$", "$").split()) for part in command] != ["sh", "-c", line]:
            yield f"The command of the service {name!r} is not the Procfile's."


def variables_are_known(root: Path) -> Iterator[str]:
    known, content = example_variables(root), compose(root)
    asked_for = {found.name for found in interpolations(content)}
    passed = set[str]().union(*(_environment(content, name) for name in processes(root)))
    for name in sorted((asked_for | passed) - known.keys()):
        yield f"docker-compose.yml uses {name}, which .env.example does not list."
    for name in sorted(known.keys() - asked_for - passed - NOT_FOR_COMPOSE):
        yield f"docker-compose.yml does not pass {name} on."
    for service in processes(root):
        for name, value in _environment(content, service).items():
            match = _INTERPOLATION.fullmatch(str(value))
            if match and match["name"] != name:
                yield f"The service {service!r} gets {match['name']} under the name {name}."
            if match and match["operator"] == ":-" and match["rest"]:
                yield f"{name} has a default in docker-compose.yml; the settings have one already."


def secrets_have_no_default(root: Path) -> Iterator[str]:
    variables = example_variables(root)
    for found in interpolations(compose(root)):
        if found.name in SECRETS and found.operator != ":?":
            yield f"docker-compose.yml starts without {found.name}: write ${{{found.name}:?…}}."
    for name in SECRETS:
        if name not in variables or variables[name].value or variables[name].is_default:
            yield f".env.example must have {name} without a value."
        if re.search(rf"^(ENV|ARG)\b.*\b{name}\b", _dockerfile(root), re.MULTILINE):
            yield f"The image has a {name} of its own."


def processes_wait_for_what_they_need(root: Path) -> Iterator[str]:
    services = compose(root)["services"]
    wanted = {
        "migrate": {"condition": "service_completed_successfully"},
        "postgres": {"condition": "service_healthy"},
        "valkey": {"condition": "service_healthy"},
    }
    for name in processes(root):
        service = services.get(name, {})
        if service.get("depends_on") != wanted:
            yield f"The service {name!r} does not wait for the migration, PostgreSQL and the broker."
        if "stop_grace_period" not in service:
            yield f"The service {name!r} has no stop_grace_period."
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
            yield f"The service {name!r} may change its files or has capabilities."
        if "container_name" in service:
            yield f"The service {name!r} cannot be scaled: it has a container_name."


def services_recover(root: Path) -> Iterator[str]:
    services = compose(root)["services"]
    for name in ("web", "postgres", "valkey"):
        if "test" not in services.get(name, {}).get("healthcheck", {}):
            yield f"The service {name!r} has no health check."
    for name, service in services.items():
        expected = "no" if name == "migrate" else "unless-stopped"
        if service.get("restart") != expected:
            yield f"The service {name!r} should have restart: {expected}."
        if "ports" in service and name != "web":
            yield f"The service {name!r} publishes a port."


def data_is_where_it_should_be(root: Path) -> Iterator[str]:
    content = compose(root)
    volumes = content["services"]["postgres"].get("volumes", [])
    for volume in volumes:
        if volume.partition(":")[0] not in content.get("volumes", {}):
            yield f"PostgreSQL's volume {volume!r} has no name."
    # The image of version 18 refuses to start with a volume at the place that earlier ones used.
    if not any(volume.endswith(":/var/lib/postgresql") for volume in volumes):
        yield "PostgreSQL's data is not on a volume at /var/lib/postgresql."
    if {"--save", "--appendonly", "--maxmemory"} - set(content["services"]["valkey"].get("command", [])):
        yield "The broker must have --save, --appendonly and --maxmemory on its command line."


def the_image_holds_the_code(root: Path) -> Iterator[str]:
    patterns = _lines(root / ".dockerignore")
    admitted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if patterns[:1] != ["*"]:
        yield ".dockerignore must begin with *, so that nothing comes into the image by accident."
    for path in admitted:
        if not (root / path).exists():
            yield f".dockerignore admits {path}, which does not exist."
    for path in ("manage.py", "requirements/production.txt", *first_party_packages(root)):
        if path not in admitted:
            yield f".dockerignore keeps {path} out of the image."
    for path in (".env", ".git", ".local", ".venv", "benchmarks", "harness", "tests"):
        if any(fnmatch(path, pattern) for pattern in admitted):
            yield f".dockerignore lets {path} into the image."
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", _dockerfile(root), re.MULTILINE):
        for source in sources.split():
            if not (root / source).exists():
                yield f"The Dockerfile copies {source}, which does not exist."


def the_image_is_plain(root: Path) -> Iterator[str]:
    text = _dockerfile(root)
    user = re.findall(r"^USER (\S+)$", text.rpartition("\nFROM ")[2], re.MULTILINE)
    if not user or user[-1].split(":")[0] in ("0", "root"):
        yield "The image runs as root."
    for wanted in ("--require-hashes -r requirements/production.txt", "--only-binary :all:", "PYTHONUNBUFFERED=1"):
        if wanted not in text:
            yield f"The Dockerfile lacks {wanted}."
    if "apt-get" in text:
        yield "The image installs system packages: every dependency is a wheel."
    for path in ("Dockerfile", ".ci/run", *(f"requirements/{path.name}" for path in (root / "requirements").iterdir())):
        found = re.search(r"https?://|^\s*(-i|--(extra-)?index-url)\b", (root / path).read_text(), re.MULTILINE)
        if found:
            yield f"{path} names a host."


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


CHECKS: tuple[Check, ...] = (
    services_run_what_the_procfile_runs,
    variables_are_known,
    secrets_have_no_default,
    processes_wait_for_what_they_need,
    services_recover,
    data_is_where_it_should_be,
    the_image_holds_the_code,
    the_image_is_plain,
    requirements_cover_the_imports,
)


def _environment(content: dict[str, Any], service: str) -> dict[str, Any]:
    environment: dict[str, Any] = content["services"].get(service, {}).get("environment", {})
    return environment


def _dockerfile(root: Path) -> str:
    """The Dockerfile with each instruction on one line."""
    return (root / "Dockerfile").read_text().replace("\\\n", " ")


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _pinned(root: Path, name: str) -> set[str]:
    pins = _PIN.findall((root / "requirements" / f"{name}.txt").read_text())
    return {_normalised(pin) for pin in pins}


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@cache
def _installed() -> dict[str, set[str]]:
    return {name: {_normalised(one) for one in of} for name, of in packages_distributions().items()}


def _distributions_of(module: str) -> set[str]:
    return _installed().get(module, set())


def _imports(tree: ast.AST) -> Iterator[str]:
    """The first parts of the absolute imports, at any depth, but for those that only type checkers see."""
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
    """Packages that settings name in strings, as Django's lists of apps and middleware do."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    roots = {text.partition(".")[0] for text in texts if _DOTTED.fullmatch(text) or text in _installed()}
    return {root for root in roots if root in _installed()}


def main() -> int:
    """The exit status: 1 if anything is wrong."""
    problems = [problem for check in CHECKS for problem in check(ROOT)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if not problems:
        sys.stdout.write("The production files agree with the code and with each other.\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
