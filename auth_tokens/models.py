"""API keys, and what a request is known to speak for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models

from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from organizations.models import Command, Installation, Organization, User


class ApiKey(models.Model):
    """A key of an organization, perhaps bound to one command. Of the key itself only a hash and its prefix are kept."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100, blank=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="api_keys")
    command = models.ForeignKey(
        Command, on_delete=models.PROTECT, null=True, blank=True, related_name="api_keys",
        help_text="Only a key that is bound to a command may fetch exchange tokens.",
    )  # fmt: skip
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="api_keys",
        help_text="Whose key it is, as /v1/me/ shows it. It gives no rights.",
    )  # fmt: skip
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    secret_hash = models.BinaryField(unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=40, choices=Scope.choices), default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    if TYPE_CHECKING:
        organization_id: int
        command_id: int | None

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name or 'API key'} ({self.prefix}…)"

    def is_valid_at(self, now: datetime) -> bool:
        """Neither revoked nor expired, and its organization and command are active."""
        return (
            self.revoked_at is None
            and (self.expires_at is None or self.expires_at > now)
            and self.organization.is_active
            and (self.command is None or self.command.is_active)
        )


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """The parties of an exchange token: a command, the user it acts as (or none), and that user's organization."""

    command: Command
    user: User | None
    organization: Organization
    installation: Installation | None = None
    """What the organization allows the command, where it is another organization than the command's own."""

    def allows(self, scope: Scope) -> bool:
        """Whether the organization lets the command use this scope there."""
        return self.installation is None or scope.value in self.installation.scopes


class VoidToken(StrEnum):
    """Why an exchange token that was sent does not count; the values of `X-Exchange-Token-Status`."""

    INVALID = "invalid"
    EXPIRED = "expired"
    OTHER_COMMAND = "other_command"
    REVOKED = "revoked"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class CallerContext:
    """Who is calling: the API key, and the exchange token that came with the request, valid or void.

    A void token is never taken for a missing one: asking for it raises an error.
    """

    api_key: ApiKey
    sent_token: TokenSubject | VoidToken | None = None

    @property
    def organization(self) -> Organization:
        """The API key's organization."""
        return self.api_key.organization

    @property
    def is_manager(self) -> bool:
        """Whether the key reaches all of its organization, whatever command or user it belongs to."""
        return Scope.MANAGE.value in self.api_key.scopes

    def acts_as(self, command: Command) -> bool:
        """Whether the key may act as the command: as its own, or as any of its organization if it is bound to none."""
        return command.organization_id == self.organization.pk and self.api_key.command_id in (None, command.pk)

    @property
    def void_token(self) -> VoidToken | None:
        """Why the token is void; None where it is valid or was not sent."""
        return self.sent_token if isinstance(self.sent_token, VoidToken) else None

    @property
    def has_token(self) -> bool:
        """Whether a valid token was sent."""
        return isinstance(self.sent_token, TokenSubject)

    def required_token(self) -> TokenSubject:
        """Returns the token. Raises MissingTokenError where it is void or was not sent."""
        if not isinstance(self.sent_token, TokenSubject):
            raise MissingTokenError
        return self.sent_token

    def optional_token(self) -> TokenSubject | None:
        """Returns the token, or None where none was sent. Raises MissingTokenError where it is void."""
        return None if self.sent_token is None else self.required_token()
