"""Changes of an organization's objects, and the chain that proves that nobody has altered them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from audit.kinds import ActorKind, ObjectKind, Verb
from commands_platform.lib.database.encrypted import EncryptedTextField
from commands_platform.lib.database.identifiers import new_ledger_id
from commands_platform.lib.json.column import JsonTextField


def _choices(kinds: type[ObjectKind | Verb | ActorKind]) -> list[tuple[str, str]]:
    return [(kind.value, kind.value.replace("_", " ")) for kind in kinds]


class Change(models.Model):
    """One change of one object. It is written in the transaction of the change, and sealed into the chain later."""

    id = models.UUIDField(primary_key=True, default=new_ledger_id, editable=False)
    # Without a constraint, nobody who makes a change waits for a lock on the organization.
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    recorded_at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16, choices=_choices(ActorKind))
    actor_uuid = models.UUIDField(null=True, help_text="The UUID of the API key.")
    actor_name = models.TextField()
    actor_address = models.TextField(blank=True)
    correlation_id = models.TextField(blank=True, help_text="Of the request that made the change.")
    verb = models.CharField(max_length=24, choices=_choices(Verb))
    object_kind = models.CharField(max_length=16, choices=_choices(ObjectKind))
    object_uuid = models.TextField(help_text="A UUID, or the number of a hook or a calendar.")
    object_name = models.TextField()
    old = JsonTextField(default=dict)
    new = JsonTextField(default=dict)
    position = models.BigIntegerField(null=True, help_text="The place in the organization's chain, from 1.")
    hash = models.TextField(blank=True, default="")

    if TYPE_CHECKING:
        organization_id: int

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "position"], name="audit_change_position"),
            models.CheckConstraint(
                name="audit_change_sealed",
                condition=Q(position=None, hash="") | (Q(position__gte=1) & ~Q(hash="")),
            ),
        ]
        indexes = [
            # The lists of callers, newest first.
            models.Index(fields=["organization", "-id"], name="audit_change_list"),
            # The changes that one key has made.
            models.Index(
                fields=["organization", "actor_uuid", "-id"],
                name="audit_change_actor",
                condition=Q(actor_uuid__isnull=False),
            ),
            # The changes of one object.
            models.Index(fields=["object_uuid", "-id"], name="audit_change_object"),
            # Changes of other objects than schedules, which are far more.
            models.Index(
                fields=["organization", "object_kind", "-id"],
                name="audit_change_kind",
                condition=~Q(object_kind="schedule"),
            ),
            # The changes that are still to be sealed.
            models.Index(fields=["organization", "id"], name="audit_change_unsealed", condition=Q(position=None)),
        ]

    def __str__(self) -> str:
        return f"{self.object_kind} {self.object_name} {self.verb}"

    @property
    def uuid(self) -> object:
        return self.id


class Chain(models.Model):
    """The end of an organization's chain. Only this server can write a valid one, because it is encrypted."""

    organization = models.OneToOneField(
        "organizations.Organization",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="+",
    )
    head = EncryptedTextField(editable=False)

    if TYPE_CHECKING:
        organization_id: int

    def __str__(self) -> str:
        return f"chain of organization {self.organization_id}"
