"""Hooks, which say what events a command wants for one user or none, and the events that are still to reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from audit.kinds import ObjectKind
from auth_tokens.models import CallerContext, TokenSubject
from commands_platform.lib.database.encrypted import EncryptedValuesField
from events.matching import patterns_for
from organizations.models import Command, Organization, User

# More than all fan-outs have in hand.
_MAX_HELD_BACK = 1_000


def destination_of(hook_id: int) -> str:
    """Returns the name of a hook in the ledger."""
    return f"hook:{hook_id}"


class HookQuerySet(models.QuerySet["Hook"]):
    def of(self, token: TokenSubject) -> HookQuerySet:
        """Returns the hook of the token's command and user, if there is one."""
        return self.filter(command=token.command, user=token.user, callback_url="")

    def webhooks_of(self, context: CallerContext) -> HookQuerySet:
        """Returns the hooks with a URL of their own that the API key may see."""
        hooks = self.filter(organization=context.organization, command__organization=context.organization)
        if context.api_key.command_id is not None:
            hooks = hooks.filter(command=context.api_key.command_id)
        return hooks.exclude(callback_url="")

    def subscribed_to(self, name: str) -> HookQuerySet:
        """Returns the hooks with a pattern that matches the event's name, whatever their objects."""
        return self.filter(subscriptions__overlap=sorted(patterns_for(name)))


class Hook(models.Model):
    """A subscription to events of one organization. Callers refer to it by its number."""

    audited_as = ObjectKind.HOOK
    not_audited: ClassVar[frozenset[str]] = frozenset()

    # The index with the id below serves this foreign key too.
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="hooks", db_index=False)
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="hooks")
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="hooks")
    subscriptions = ArrayField(
        models.TextField(), help_text="Names of events. A last word of * matches all names below."
    )
    subscribed_objects = ArrayField(
        models.TextField(), default=list, blank=True, help_text="If empty, events about any object."
    )
    callback_url = models.TextField(blank=True, default="", help_text="Empty: the command's URL.")
    name = models.CharField(max_length=255, blank=True, default="")
    headers = EncryptedValuesField(default=dict, help_text="Extra headers of its callbacks.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = HookQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        command_id: int
        user_id: int | None

    class Meta:
        ordering = ["id"]
        constraints = [
            # Nulls count as equal, so a command has at most one hook without a user, and one for each URL.
            models.UniqueConstraint(
                fields=["command", "user", "callback_url"], name="events_hook_subscriber", nulls_distinct=False
            ),
        ]
        indexes = [
            # For the hooks of an organization in portions, and for its newest one.
            models.Index(fields=["organization", "id"], name="events_hook_of_organization"),
        ]

    def __str__(self) -> str:
        return f"hook {self.pk}"

    @property
    def destination(self) -> str:
        """The hook's name in the ledger."""
        return destination_of(self.pk)


class OutboxEventQuerySet(models.QuerySet["OutboxEvent"]):
    def hold_back(self, hook: Hook, *, waits: bool) -> bool:
        """Keeps the oldest events from reaching a hook until the end of the transaction.

        If a fan-out has one of them in hand, this waits until its portion is committed, or returns False if it may not
        wait.
        """
        coming = self.filter(
            organization=hook.organization_id, after_hook_id__lt=hook.pk, until_hook_id__gte=hook.pk
        ).order_by("pk")
        held = list(coming.select_for_update(skip_locked=not waits).values_list("pk", flat=True)[:_MAX_HELD_BACK])
        return waits or len(held) == coming[:_MAX_HELD_BACK].count()


class OutboxEvent(models.Model):
    """A published event, until the ledger holds a row for each hook that wants it.

    It is written in the transaction that publishes the event, so it has no foreign key: nobody who publishes waits for
    a lock on the organization.
    """

    uuid = models.UUIDField(unique=True)
    organization = models.ForeignKey(
        Organization, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    name = models.TextField()
    object_id = models.TextField(blank=True, default="", help_text="Empty if the event is about no single object.")
    body = models.TextField(help_text="As JSON.")
    happened_at = models.DateTimeField()
    correlation_id = models.TextField(  # noqa: DJ001  # NULL takes no space
        null=True, help_text="The X-Correlation-Id of the request that published it."
    )
    after_hook_id = models.BigIntegerField(default=0, help_text="Hooks up to this one have been handled.")
    until_hook_id = models.BigIntegerField(
        help_text="The newest hook for it when it was published. Newer hooks do not get it."
    )
    retry_at = models.DateTimeField(null=True, help_text="When to try again after an error.")

    objects = OutboxEventQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            # For the organizations in turn, and for the oldest events of each.
            models.Index(fields=["organization", "id"], name="events_outboxevent_turn"),
        ]

    def __str__(self) -> str:
        return str(self.uuid)
