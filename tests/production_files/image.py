"""Checks of the Dockerfile and of what comes into the image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tests.production_files.reading import dockerfile, first_party_packages, lines_of


def the_image_holds_only_the_code(root: Path) -> Iterator[str]:
    patterns = lines_of(root / ".dockerignore")
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
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(root), re.MULTILINE):
        for source in sources.split():
            if not (root / source).exists():
                yield f"The Dockerfile copies {source}, which does not exist."


def the_image_is_plain(root: Path) -> Iterator[str]:
    text = dockerfile(root)
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
