"""Celery carries hints: every task has a name, and some process takes it."""

from __future__ import annotations

import re

import pytest

from commands_platform.celery import app
from tests.production_files import ROOT, first_party_packages, processes

app.loader.import_default_modules()

OWN_TASKS = sorted(name for name in app.tasks if not name.startswith("celery."))


def queues_with_a_worker() -> set[str]:
    named = (re.search(r"--queues (\S+)", command) for command in processes(ROOT).values())
    return {queue for match in named if match for queue in match[1].split(",")}


@pytest.mark.parametrize("name", OWN_TASKS)
def test_a_task_is_named_for_its_app_and_its_function(name: str) -> None:
    app_name, _, function = name.partition(".")

    assert app_name in first_party_packages(ROOT)
    assert app.tasks[name].run.__name__ == function
    assert app.tasks[name].run.__module__ == f"{app_name}.tasks"


@pytest.mark.parametrize("name", OWN_TASKS)
def test_a_process_of_the_procfile_runs_each_task(name: str) -> None:
    queue = app.amqp.router.route({}, name)["queue"]

    assert getattr(queue, "name", queue) in queues_with_a_worker()


@pytest.mark.parametrize("entry", sorted(app.conf.beat_schedule))
def test_a_tick_names_an_existing_task_and_never_expires(entry: str) -> None:
    """It would expire by beat's clock, which may differ from the worker's. Few hints can wait, so none needs to."""
    tick = app.conf.beat_schedule[entry]

    assert tick["task"] in OWN_TASKS
    assert "options" not in tick
