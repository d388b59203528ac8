from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"

    def ready(self) -> None:
        from deliveries.signals import runs_started

        runs_started.connect(_wake_sender, dispatch_uid="deliveries.runs_started")
        post_migrate.connect(_make_partitions, sender=self, dispatch_uid="deliveries.partitions")


def _make_partitions(**_: Any) -> None:
    from deliveries import partitions

    partitions.make_ahead()


def _wake_sender(**_: Any) -> None:
    from commands_platform.lib import broker
    from deliveries.tasks import deliver_pending

    broker.send_hint(deliver_pending)
