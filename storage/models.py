"""Items: small JSON values, each with a key in a bucket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib.postgres.functions import TransactionNow
from django.db import models
from django.db.models import Q

from commands_platform.lib.json.column import JsonTextField
from organizations.models import Command, Organization, User


@dataclass(frozen=True, slots=True)
class Bucket:
    """The place of a caller's items. It belongs to an organization, a command, or a command and a user.

    An empty namespace means that there is none. A bucket without a command always has a namespace.
    """

    organization: Organization
    command_id: int | None = None
    user_id: int | None = None
    namespace: str = ""

    def place(self) -> dict[str, int | str | None]:
        """Returns the values of the columns that the items of the bucket have in common."""
        return {
            "organization": self.organization.pk,
            "command": self.command_id,
            "user": self.user_id,
            "namespace": self.namespace,
        }


class ItemQuerySet(models.QuerySet["Item"]):
    def in_bucket(self, bucket: Bucket) -> ItemQuerySet:
        return self.filter(**bucket.place())

    def alive(self) -> ItemQuerySet:
        """Returns the items that have not expired by the database's clock. Others count as deleted."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=TransactionNow()))


class Item(models.Model):
    """A JSON value with a key. Keys are ordered by code point, whatever the locale of the database."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False, related_name="items")
    command = models.ForeignKey(
        Command, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="items",
        help_text="Empty: the item belongs to the organization, in a namespace.",
    )  # fmt: skip
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="items",
        help_text="Empty: the item belongs to no user.",
    )  # fmt: skip
    namespace = models.CharField(max_length=255, blank=True, default="", db_collation="C")
    key = models.CharField(max_length=255, db_collation="C")
    value = JsonTextField()
    version = models.BigIntegerField(default=1, help_text="Each write adds one.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ItemQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        command_id: int | None
        user_id: int | None

    class Meta:
        ordering = ["-id"]
        constraints = [
            # Its index serves every query for items. A page of a list is a range of it.
            models.UniqueConstraint(
                fields=["organization", "command", "user", "namespace", "key"],
                name="storage_item_place",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="storage_item_bucket",
                condition=Q(command__isnull=False) | (Q(user=None) & ~Q(namespace="")),
            ),
            models.CheckConstraint(name="storage_item_key", condition=~Q(key="")),
            models.CheckConstraint(name="storage_item_version", condition=Q(version__gte=1)),
        ]
        indexes = [
            # Serves the removal of expired items. Items that never expire are not in it.
            models.Index(fields=["expires_at"], name="storage_item_expiry", condition=Q(expires_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.key

    def is_expired_at(self, now: datetime) -> bool:
        """Returns whether the item counts as absent. Its row is removed later."""
        return self.expires_at is not None and self.expires_at <= now
