from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    name = "scheduling"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        from deliveries.signals import runs_unsent
        from scheduling import zone_changes

        zone_changes.connect()
        runs_unsent.connect(_note_unsent_runs, dispatch_uid="scheduling.runs_unsent")


def _note_unsent_runs(ids: Sequence[UUID], **_: Any) -> None:
    from scheduling.repeats import note_unsent

    note_unsent(ids)
