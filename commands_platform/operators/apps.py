from __future__ import annotations

from django.apps import AppConfig


class OperatorsConfig(AppConfig):
    name = "commands_platform.operators"
    verbose_name = "Operators"
