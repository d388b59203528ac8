"""API keys, and the caller of a request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from audit.kinds import ObjectKind
from auth_tokens.errors import MissingTokenError
from auth_tokens.networks import is_in_networks
from auth_tokens.scopes import Scope
from commands_platform.lib.database.encrypted import EncryptedTextField
from organizations.models import Command, Installation, Organization, User


class ApiKey(models.Model):
    """A key of an organization, which may be bound to one command. Only its hash and its prefix are stored."""

    audited_as = ObjectKind.API_KEY
    not_audited = frozenset({"last_used_at", "pauses_after"})

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100, blank=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="api_keys")
    command = models.ForeignKey(
        Command, on_delete=models.PROTECT, null=True, blank=True, related_name="api_keys",
        help_text="Only a key that is bound to a command may fetch exchange tokens.",
    )  # fmt: skip
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="api_keys",
        help_text="The user that /v1/me/ shows. The owner gives the key no rights.",
    )  # fmt: skip
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    secret_hash = models.BinaryField(unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=40, choices=Scope.choices), default=list)
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests a minute. Empty: the server's default. 0: no limit."
    )
    allowed_networks = ArrayField(
        models.TextField(),
        default=list,
        blank=True,
        help_text="Where it may be used from, in CIDR notation. None: everywhere.",
    )
    replaces = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, editable=False, related_name="replaced_by",
        help_text="The key that was rotated when this one was made.",
    )  # fmt: skip
    pauses_after = models.BigIntegerField(
        null=True, editable=False, help_text="Schedules that it made, after this one, are still to be paused."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    if TYPE_CHECKING:
        organization_id: int
        command_id: int | None
        replaces_id: int | None

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        constraints = [
            # A command must not manage the organization that it serves.
            models.CheckConstraint(
                name="auth_tokens_apikey_manager",
                condition=Q(command=None) | ~Q(scopes__contains=[Scope.MANAGE.value]),
                violation_error_message="A key that is bound to a command cannot have the scope MANAGE.",
            ),
        ]
        indexes = [
            # The revoked keys whose schedules are still to be paused.
            models.Index(
                fields=["pauses_after"], name="auth_tokens_apikey_pauses", condition=Q(pauses_after__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name or 'API key'} ({self.prefix}…)"

    def allows_address(self, address: str) -> bool:
        """Returns whether the key may be used from this address."""
        return not self.allowed_networks or is_in_networks(address, tuple(self.allowed_networks))

    def is_valid_at(self, now: datetime) -> bool:
        """Returns whether the key is neither revoked nor expired, and its organization and command are active."""
        return (
            self.revoked_at is None
            and (self.expires_at is None or self.expires_at > now)
            and self.organization.is_active
            and (self.command is None or self.command.is_active)
        )


class IdempotentRequest(models.Model):
    """The answer to a request that had an `Idempotency-Key`, so that the same request gets it again for a day."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, db_index=False, related_name="+")
    digest = models.BinaryField(help_text="The SHA-256 of its API key, method, path and key.")
    fingerprint = models.BinaryField(help_text="The SHA-256 of its body, query and token.")
    status = models.PositiveSmallIntegerField()
    answer = EncryptedTextField(help_text="Its headers and body. They may hold a secret that is shown only once.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["api_key", "digest"], name="auth_tokens_idempotentrequest_once"),
        ]
        indexes = [
            # For the removal of answers whose time is over.
            models.Index(fields=["created_at"], name="auth_tokens_idempotentreq_age"),
        ]

    def __str__(self) -> str:
        return f"{self.status} at {self.created_at}"


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """The parties of an exchange token: a command, the user it acts as (or none), and that user's organization."""

    command: Command
    user: User | None
    organization: Organization
    installation: Installation | None = None
    """The installation in `organization`, or None if the command needs none there."""

    def allows(self, scope: Scope) -> bool:
        """Returns whether the organization lets the command use this scope there."""
        return self.installation is None or scope.value in self.installation.scopes


class VoidToken(StrEnum):
    """The reasons why an exchange token is void, which are the values of `X-Exchange-Token-Status`."""

    INVALID = "invalid"
    EXPIRED = "expired"
    OTHER_COMMAND = "other_command"
    REVOKED = "revoked"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class CallerContext:
    """The caller of a request: its API key, and its exchange token, which may be void.

    A void token is never treated as a missing one: asking for it raises an error.
    """

    api_key: ApiKey
    sent_token: TokenSubject | VoidToken | None = None

    @property
    def organization(self) -> Organization:
        """The API key's organization."""
        return self.api_key.organization

    @property
    def is_manager(self) -> bool:
        """Whether the key reaches everything in its organization, for all commands and users."""
        return Scope.MANAGE.value in self.api_key.scopes

    def acts_as(self, command: Command) -> bool:
        """Returns whether the key may act as the command.

        A bound key may act as its own command, and any other key as each command of its organization.
        """
        return command.organization_id == self.organization.pk and self.api_key.command_id in (None, command.pk)

    @property
    def void_token(self) -> VoidToken | None:
        """The reason why the token is void, or None if it is valid or was not sent."""
        return self.sent_token if isinstance(self.sent_token, VoidToken) else None

    @property
    def has_token(self) -> bool:
        """Whether a valid token was sent."""
        return isinstance(self.sent_token, TokenSubject)

    def required_token(self) -> TokenSubject:
        """Returns the token. Raises MissingTokenError if it is void or was not sent."""
        if not isinstance(self.sent_token, TokenSubject):
            raise MissingTokenError
        return self.sent_token

    def optional_token(self) -> TokenSubject | None:
        """Returns the token, or None if none was sent. Raises MissingTokenError if it is void."""
        return None if self.sent_token is None else self.required_token()
