"""Activity: records of actions, which commands report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now

from auth_tokens.models import TokenSubject
from commands_platform.lib.json.column import JsonTextField
from organizations.models import Command, Organization, User


class ActivityRecordQuerySet(models.QuerySet["ActivityRecord"]):
    def visible_to(self, token: TokenSubject) -> ActivityRecordQuerySet:
        """Returns the records of the token's command in its organization, for all users."""
        return self.filter(command=token.command, organization=token.organization)


class ActivityRecord(models.Model):
    """One action. Records are added, and never changed.

    The index serves the list. The foreign keys need no index, because the rows that they refer to are never deleted.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, db_index=False, related_name="activity_records"
    )
    command = models.ForeignKey(Command, on_delete=models.PROTECT, db_index=False, related_name="activity_records")
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="activity_records"
    )
    category = models.CharField(max_length=255)
    action = models.CharField(max_length=255)
    label = models.CharField(max_length=1000, null=True, blank=True)  # noqa: DJ001 (null and "" differ on the wire)
    metadata = JsonTextField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = ActivityRecordQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        command_id: int
        user_id: int | None

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["command", "organization", "-created_at", "-id"], name="activity_activityrecord_newest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.category}: {self.action}"
