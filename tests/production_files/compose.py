"""Checks of docker-compose.yml against the Procfile and .env.example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.production_files.reading import (
    INTERPOLATION,
    compose,
    dockerfile,
    environment_of,
    example_variables,
    interpolations,
    processes,
)

SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD")
# docker-compose.yml sets these itself, or only development needs them.
NOT_FOR_COMPOSE = frozenset({"COMMANDS_EMBEDDED", "COMMANDS_LOCAL_DIR", "COMMANDS_PROCESS_NAME", "TEST_DATABASE_NAME"})


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
    passed = set[str]().union(*(environment_of(content, name) for name in processes(root)))
    for name in sorted((asked_for | passed) - known.keys()):
        yield f"docker-compose.yml uses {name}, which .env.example does not list."
    for name in sorted(known.keys() - asked_for - passed - NOT_FOR_COMPOSE):
        yield f"docker-compose.yml does not pass {name} on."
    for service in processes(root):
        for name, value in environment_of(content, service).items():
            match = INTERPOLATION.fullmatch(str(value))
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
        if re.search(rf"^(ENV|ARG)\b.*\b{name}\b", dockerfile(root), re.MULTILINE):
            yield f"The image has a {name} of its own."


def processes_wait_for_their_servers(root: Path) -> Iterator[str]:
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


def data_is_on_named_volumes(root: Path) -> Iterator[str]:
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
