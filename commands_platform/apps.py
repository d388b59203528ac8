"""The project as an app: it brings the commands `up` and `bootstrap`, and Celery's configuration to every process."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class CommandsPlatformConfig(AppConfig):
    name = "commands_platform"
    verbose_name = "Commands Platform"

    def ready(self) -> None:
        # Tasks bind to the current Celery app; without this one a web process would publish to a default broker.
        import_module("commands_platform.celery")
