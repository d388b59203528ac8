"""Hooks: the events that a command subscribes to, for one user or none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.expressions import RawSQL

from auth_tokens.models import TokenSubject
from auth_tokens.scopes import Scope
from deliveries import sendable
from events.matching import hook_wants, matches, patterns_for
from organizations.models import Command, Organization, User

_REASON_TO_SKIP = RawSQL(  # noqa: S611 (a constant)
    "(SELECT"
    + sendable.reason_sql(user_id="hook.user_id", url="c.callback_url", scope=f"'{Scope.EVENT_SUBSCRIPTION}'")
    + " FROM (SELECT events_hook.organization_id, events_hook.command_id, events_hook.user_id) hook"
    + sendable.joins_sql(organization_id="hook.organization_id", command_id="hook.command_id", user_id="hook.user_id")
    + ")",
    (),
    output_field=models.CharField(),
)
# Null for a hook in its command's own organization, where the command may subscribe to every event.
_ALLOWED_EVENTS = RawSQL(
    "(SELECT CASE WHEN 'EVENT_SUBSCRIPTION' = ANY(i.scopes) THEN i.events ELSE '{}' END"
    " FROM organizations_installation i WHERE i.command_id = events_hook.command_id"
    " AND i.organization_id = events_hook.organization_id AND i.removed_at IS NULL)",
    (),
    output_field=ArrayField(models.TextField(), null=True),
)
_TO_SEND: dict[str, Any] = {"reason_to_skip": _REASON_TO_SKIP, "allowed_events": _ALLOWED_EVENTS}


class HookQuerySet(models.QuerySet["Hook"]):
    def of(self, token: TokenSubject) -> HookQuerySet:
        """Returns the hook of the token's command and user, if there is one."""
        return self.filter(command=token.command, user=token.user)

    def with_permissions(self) -> HookQuerySet:
        """Sets `reason_to_skip`, the Reason why nothing can be sent now or an empty string, and `allowed_events`."""
        return self.annotate(**_TO_SEND)

    def subscribed_to(self, names: Iterable[str]) -> HookQuerySet:
        """Returns the hooks with a pattern that matches one of the events, whatever their objects."""
        return self.filter(subscriptions__overlap=sorted(frozenset().union(*map(patterns_for, names))))


class Hook(models.Model):
    """A subscription to events of one organization. Callers refer to it by its number."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="hooks")
    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="hooks")
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="hooks")
    subscriptions = ArrayField(
        models.TextField(), help_text="Names of events. A last word of * matches all names below."
    )
    subscribed_objects = ArrayField(
        models.TextField(), default=list, blank=True, help_text="If empty, events about any object."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = HookQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        command_id: int
        user_id: int | None
        # Only on the rows of `with_permissions`.
        reason_to_skip: str
        allowed_events: list[str] | None

    class Meta:
        ordering = ["id"]
        constraints = [
            # Nulls count as equal, so a command has at most one hook without a user.
            models.UniqueConstraint(fields=["command", "user"], name="events_hook_subscriber", nulls_distinct=False),
        ]

    def __str__(self) -> str:
        return f"hook {self.pk}"

    @property
    def destination(self) -> str:
        """The hook's name in the ledger."""
        return f"hook:{self.pk}"

    def wants(self, name: str, object_id: str | None) -> bool:
        """Returns whether the hook wants an event of its organization. Needs `with_permissions`."""
        # An event that another organization's command may not get is not recorded for it, not even as a skipped row.
        if self.allowed_events is not None and not matches(self.allowed_events, name):
            return False
        return hook_wants(self.subscriptions, self.subscribed_objects, name=name, object_id=object_id)
