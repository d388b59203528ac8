"""The processes of the platform that have been seen lately, and when each housekeeping chore ran last."""

from __future__ import annotations

from uuid import uuid4

from django.db import models


class Role(models.TextChoices):
    """The work of a process. The names are those of the Procfile."""

    WEB = "web"
    BEAT = "beat"
    DISPATCHER = "dispatcher"
    DELIVERER = "deliverer"


class Process(models.Model):
    """One running process. It updates its row every second, and removes it when it ends in an orderly way.

    All times are those of the database's clock, so that hosts whose clocks differ can be compared.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    role = models.CharField(max_length=16, choices=Role.choices)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField(help_text="The id of the process on its host.")
    version = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When it last reported that it is alive.")
    steady_since = models.DateTimeField(help_text="Since when it has reported without a gap.")
    worked_at = models.DateTimeField(null=True, help_text="When it last began some work, for example a tick.")
    taken_over_at = models.DateTimeField(
        null=True, help_text="When others last took over what it held, because it was dead or out of reach."
    )

    class Meta:
        verbose_name_plural = "processes"

    def __str__(self) -> str:
        return f"{self.role} on {self.host}"


class ChoreRun(models.Model):
    """The latest run of a housekeeping chore. The row keeps several dispatchers from doing it at the same time."""

    name = models.CharField(primary_key=True, max_length=64)
    started_at = models.DateTimeField(help_text="When it was last started.")

    def __str__(self) -> str:
        return self.name
