"""Checks of the production files that need no Docker engine.

Each check takes the project's directory and yields a sentence for each mistake.
"""

from __future__ import annotations

from tests.production_files.compose import (
    data_is_on_named_volumes,
    processes_wait_for_their_servers,
    secrets_have_no_default,
    services_recover,
    services_run_what_the_procfile_runs,
    variables_are_known,
)
from tests.production_files.image import the_image_holds_only_the_code, the_image_is_plain
from tests.production_files.reading import (
    ROOT,
    Check,
    ExampleVariable,
    Interpolation,
    compose,
    example_variables,
    first_party_packages,
    interpolations,
    processes,
    production_modules,
)
from tests.production_files.requirements import requirements_cover_the_imports

__all__ = [
    "CHECKS",
    "ROOT",
    "Check",
    "ExampleVariable",
    "Interpolation",
    "compose",
    "example_variables",
    "first_party_packages",
    "interpolations",
    "processes",
    "production_modules",
]

CHECKS: tuple[Check, ...] = (
    services_run_what_the_procfile_runs,
    variables_are_known,
    secrets_have_no_default,
    processes_wait_for_their_servers,
    services_recover,
    data_is_on_named_volumes,
    the_image_holds_only_the_code,
    the_image_is_plain,
    requirements_cover_the_imports,
)
