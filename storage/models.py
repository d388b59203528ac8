"""Items: small JSON values under keys, each in one bucket."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib.postgres.functions import TransactionNow
from django.db import models
from django.db.models import Q

from commands_platform.lib.json.column import JsonTextField
from organizations.models import Command, Organization, User


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a caller's items live: with an organization, one of its commands, or that command and a user of it.

    An empty namespace is none; an organization's own items always have one.
    """

    organization_id: int
    command_id: int | None = None
    user_id: int | None = None
    namespace: str = ""


class ItemQuerySet(models.QuerySet["Item"]):
    def in_bucket(self, bucket: Bucket) -> ItemQuerySet:
        return self.filter(**asdict(bucket))

    def alive(self) -> ItemQuerySet:
        """Those that have not expired, by the database's clock; the others are as good as deleted."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=TransactionNow()))


class Item(models.Model):
    """A JSON value under a key. Keys are ordered by their code points, whatever the database's language."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False, related_name="items")
    command = models.ForeignKey(
        Command, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="items",
        help_text="Empty: the organization's own item, in a namespace.",
    )  # fmt: skip
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, db_index=False, related_name="items",
        help_text="Empty: the item of the command or the organization alone.",
    )  # fmt: skip
    namespace = models.CharField(max_length=255, blank=True, default="", db_collation="C")
    key = models.CharField(max_length=255, db_collation="C")
    value = JsonTextField()
    version = models.BigIntegerField(default=1, help_text="One more with each write.")
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
            # Every look-up and every page of a list is a range of its index.
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
            # The sweep of what has expired; items that never expire stay out of it.
            models.Index(fields=["expires_at"], name="storage_item_expiry", condition=Q(expires_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.key

    def is_expired_at(self, now: datetime) -> bool:
        """Whether it counts as absent; its row stays until the next sweep."""
        return self.expires_at is not None and self.expires_at <= now
