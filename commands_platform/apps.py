"""The project as an app. It has management commands, and loads Celery's configuration in every process."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class CommandsPlatformConfig(AppConfig):
    name = "commands_platform"
    verbose_name = "Commands Platform"

    def ready(self) -> None:
        # Tasks use the current Celery app. Without ours, the web would send hints to a default broker.
        import_module("commands_platform.celery")
