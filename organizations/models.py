"""Organizations, their users and commands, and the commands that they have installed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from audit.kinds import ObjectKind
from commands_platform.lib.database.encrypted import EncryptedTextField
from commands_platform.lib.encryption import EncryptedText
from commands_platform.lib.errors import PlatformError
from commands_platform.lib.zones import check_zone
from organizations.secrets import new_signing_secret, new_static_signature


def validate_zone(name: str) -> None:
    """Raises Django's ValidationError if the name is not that of an IANA time zone."""
    try:
        check_zone(name)
    except PlatformError as error:
        raise ValidationError(error.message) from error


_QUOTA_HELP = "Empty: the server's default. 0: no limit."


class Organization(models.Model):
    """A tenant. No organization sees another's data."""

    audited_as = ObjectKind.ORGANIZATION
    not_audited: ClassVar[frozenset[str]] = frozenset()

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200, unique=True)
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_zone])
    is_active = models.BooleanField(default=True)
    # The quotas. The module `quotas` says what they count.
    quota_schedules = models.PositiveBigIntegerField(null=True, blank=True, help_text=_QUOTA_HELP)
    quota_shortest_period = models.PositiveBigIntegerField(
        null=True, blank=True, help_text=f"The seconds between two runs of a schedule. {_QUOTA_HELP}"
    )
    quota_stored_bytes = models.PositiveBigIntegerField(null=True, blank=True, help_text=_QUOTA_HELP)
    quota_hooks = models.PositiveBigIntegerField(null=True, blank=True, help_text=_QUOTA_HELP)
    quota_redeliveries = models.PositiveBigIntegerField(
        null=True, blank=True, help_text=f"By callers, in an hour. {_QUOTA_HELP}"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class User(models.Model):
    """A person in an organization. Operators, who log in to the admin, are in another table."""

    audited_as = ObjectKind.USER
    not_audited = frozenset({"token_generation"})

    class Role(models.TextChoices):
        ADMIN = "admin"
        MANAGER = "manager"
        MEMBER = "member"

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="users")
    full_name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.MEMBER)
    timezone = models.CharField(
        max_length=64, blank=True, validators=[validate_zone], help_text="Empty: the organization's."
    )
    is_active = models.BooleanField(default=True)
    token_generation = models.PositiveIntegerField(
        default=0, editable=False, help_text="Raising it revokes every exchange token of this user."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    if TYPE_CHECKING:
        organization_id: int

    class Meta:
        ordering = ["full_name", "id"]
        constraints = [
            models.UniqueConstraint(
                F("organization"),
                Lower("email"),
                name="organizations_user_email",
                condition=~Q(email=""),
                violation_error_message="Another user of the organization has this address.",
            ),
            models.CheckConstraint(
                condition=Q(role__in=["admin", "manager", "member"]), name="organizations_user_role"
            ),
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def zone(self) -> str:
        """The user's time zone, or else the organization's."""
        return self.timezone or self.organization.timezone


class Command(models.Model):
    """A chat command, with the URL and the secrets of its callbacks."""

    audited_as = ObjectKind.COMMAND
    not_audited = frozenset({"token_generation", "previous_secret_expires_at", "previous_signature_expires_at"})

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="commands")
    name = models.CharField(max_length=100)
    callback_url = models.TextField(blank=True)
    is_public = models.BooleanField(
        default=False, help_text="A public command may act in other organizations that have installed it."
    )
    is_active = models.BooleanField(default=True)
    signing_secret = EncryptedTextField(default=new_signing_secret, editable=False)
    previous_signing_secret = EncryptedTextField(blank=True, editable=False)
    previous_secret_expires_at = models.DateTimeField(null=True, editable=False)
    signature = EncryptedTextField(default=new_static_signature, editable=False)
    previous_signature = EncryptedTextField(blank=True, editable=False)
    previous_signature_expires_at = models.DateTimeField(null=True, editable=False)
    token_generation = models.PositiveIntegerField(
        default=0, editable=False, help_text="Raising it revokes every exchange token of this command."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="organizations_command_name"),
            models.CheckConstraint(
                name="organizations_command_rotation",
                condition=Q(previous_signing_secret="", previous_secret_expires_at=None)
                | (~Q(previous_signing_secret="") & Q(previous_secret_expires_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="organizations_command_signature",
                condition=Q(previous_signature="", previous_signature_expires_at=None)
                | (~Q(previous_signature="") & Q(previous_signature_expires_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def rotate_signing_secret(self, *, now: datetime, overlap: timedelta) -> None:
        """Sets a new secret. Callbacks are signed with both secrets until `overlap` has passed. The caller saves.

        A secret that no key decrypts is replaced without an overlap, and the static signature too if it is unreadable.
        """
        is_lost = isinstance(self.signing_secret, EncryptedText)
        self.previous_signing_secret = "" if is_lost else self.signing_secret
        self.previous_secret_expires_at = None if is_lost else now + overlap
        self.signing_secret = new_signing_secret()
        if isinstance(self.signature, EncryptedText):
            self.rotate_signature(now=now, overlap=overlap)

    def rotate_signature(self, *, now: datetime, overlap: timedelta) -> None:
        """Sets a new static signature. The previous one is still sent until `overlap` has passed. The caller saves.

        The header holds only one value, so a receiver needs this time to learn the new one. A signature that no key
        decrypts is replaced without an overlap.
        """
        is_kept = overlap > timedelta() and not isinstance(self.signature, EncryptedText)
        self.previous_signature = self.signature if is_kept else ""
        self.previous_signature_expires_at = now + overlap if is_kept else None
        self.signature = new_static_signature()


class InstallationQuerySet(models.QuerySet["Installation"]):
    def current(self) -> InstallationQuerySet:
        return self.filter(removed_at=None)


class Installation(models.Model):
    """An organization's consent that another one's public command acts in it. Rows of removed commands are kept."""

    audited_as = ObjectKind.INSTALLATION
    not_audited = frozenset({"tokens_valid_from", "ended_at"})

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="installations")
    command = models.ForeignKey(
        Command, on_delete=models.PROTECT, related_name="installations", limit_choices_to={"is_public": True}
    )
    scopes = ArrayField(models.CharField(max_length=40), help_text="What the command may do here.")
    events = ArrayField(
        models.TextField(), blank=True, help_text="Events that it may subscribe to here; * matches all names below."
    )
    installed_at = models.DateTimeField(editable=False)
    tokens_valid_from = models.DateTimeField(
        null=True, editable=False, help_text="When the command was last removed. Exchange tokens from before stay void."
    )
    removed_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(
        null=True, editable=False, help_text="When the last schedule, hook and delivery of the removed command ended."
    )

    objects = InstallationQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        command_id: int

    class Meta:
        ordering = ["-id"]
        constraints = [
            # Its index also serves the query whether a command may act in an organization.
            models.UniqueConstraint(
                fields=["command", "organization"],
                name="organizations_installation_once",
                condition=Q(removed_at=None),
            ),
            models.CheckConstraint(
                name="organizations_installation_ended",
                condition=Q(ended_at=None) | Q(removed_at__isnull=False),
            ),
        ]
        indexes = [
            # Serves the task that ends the schedules, hooks and deliveries of removed commands.
            models.Index(
                fields=["removed_at"],
                name="organizations_installation_end",
                condition=Q(removed_at__isnull=False, ended_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command} in {self.organization}"
