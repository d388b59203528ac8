"""Hooks: which events a command wants to hear of, for which user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models

from auth_tokens.models import TokenSubject
from deliveries.models import Reason
from events.matching import hook_wants, patterns_for
from organizations.models import Command, Organization, User


class HookQuerySet(models.QuerySet["Hook"]):
    def of(self, token: TokenSubject) -> HookQuerySet:
        """The one hook of the token's command and user, if there is one."""
        return self.filter(command=token.command, user=token.user)

    def subscribed_to(self, names: Iterable[str]) -> HookQuerySet:
        """Those with a pattern for one of the events, whatever their objects."""
        return self.filter(subscriptions__overlap=sorted(frozenset().union(*map(patterns_for, names))))


class Hook(models.Model):
    """A subscription to events of one organization. Its number is what callers know it by."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="hooks")
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="hooks")
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="hooks")
    subscriptions = ArrayField(models.TextField(), help_text="Names of events; a last word of * stands for all below.")
    subscribed_objects = ArrayField(
        models.TextField(), default=list, blank=True, help_text="Empty: events about any object."
    )
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
            # Nulls are alike: a command has one hook without a user.
            models.UniqueConstraint(fields=["command", "user"], name="events_hook_subscriber", nulls_distinct=False),
        ]

    def __str__(self) -> str:
        return f"hook {self.pk}"

    @property
    def destination(self) -> str:
        """What the ledger calls it."""
        return f"hook:{self.pk}"

    def wants(self, name: str, object_id: str | None) -> bool:
        """Whether it fires for an event of its organization."""
        return hook_wants(self.subscriptions, self.subscribed_objects, name=name, object_id=object_id)

    def reason_to_skip(self) -> Reason | None:
        """Why nothing can be sent to it, if so."""
        command = self.command
        if not self.organization.is_active:
            return Reason.ORGANIZATION_INACTIVE
        if not (command.is_active and command.organization.is_active):
            return Reason.COMMAND_INACTIVE
        # A command that is no longer public hears no more of other organizations.
        if command.organization_id != self.organization_id and not command.is_public:
            return Reason.COMMAND_INACTIVE
        if self.user is not None and not self.user.is_active:
            return Reason.USER_INACTIVE
        if not command.callback_url:
            return Reason.NO_CALLBACK_URL
        return None
