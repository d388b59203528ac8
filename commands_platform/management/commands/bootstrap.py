"""`manage.py bootstrap`: makes a first organization, command, user and API key."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from auth_tokens.scopes import COMMAND_SCOPES, Scope
from auth_tokens.services import create_api_key
from commands_platform.lib import clock
from commands_platform.lib.errors import PlatformError
from commands_platform.lib.instants import format_instant
from commands_platform.lib.text import refusal_of
from commands_platform.lib.zones import check_zone
from organizations.models import Command as PlatformCommand
from organizations.models import Organization, User
from organizations.services import change_in_directory, create_in_directory
from outbound.guard import address_guard

MAX_KEY_DAYS = 3650

Row = TypeVar("Row", Organization, PlatformCommand, User)


class Command(BaseCommand):
    help = "Finds an organization, a command and a user by name, or makes them. Always makes a new API key for them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", default="Default organization", metavar="NAME")
        parser.add_argument(
            "--timezone", default="", metavar="ZONE", help="An IANA name. Default for a new organization: UTC."
        )
        parser.add_argument("--command", default="default-command", metavar="NAME", dest="command_name")
        parser.add_argument("--callback-url", default="", metavar="URL", help="The URL for the command's callbacks.")
        parser.add_argument("--public", action="store_true", help="The command may act for other organizations' users.")
        parser.add_argument("--user", default="Default user", metavar="NAME", dest="user_name")
        parser.add_argument("--email", default="", metavar="EMAIL")
        parser.add_argument(
            "--scopes",
            default=",".join(COMMAND_SCOPES),
            metavar="LIST",
            help=f"What the key may do, separated by commas: {', '.join(Scope.values)}. Default: all but MANAGE."
            " A key with MANAGE is not bound to the command.",
        )
        parser.add_argument(
            "--expires-days", type=int, metavar="DAYS", help="After how many days the key expires. Default: never."
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        _check_text(options)
        try:
            made = _make(options)
        except PlatformError as error:
            raise CommandError(error.message) from error
        # This comes after the commit, so that a key that was shown works.
        self.stdout.write(json.dumps(made) if options["as_json"] else _for_people(made))


def _check_text(options: dict[str, Any]) -> None:
    for option in ("organization", "timezone", "command_name", "callback_url", "user_name", "email", "scopes"):
        text = options[option]
        shown = f"--{option.removesuffix('_name').replace('_', '-')}"
        # Bytes that are not UTF-8 arrive as lone surrogates. PostgreSQL accepts neither these nor NUL.
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise CommandError(f"{shown} must be UTF-8 text without NUL.")
        refusal = refusal_of(text)
        if refusal is not None:
            raise CommandError(f"{shown}: {refusal}")


@transaction.atomic
def _make(options: dict[str, Any]) -> dict[str, Any]:
    organization = _organization(options["organization"], options["timezone"])
    command = _command(organization, options["command_name"], options["callback_url"], public=options["public"])
    user = _user(organization, options["user_name"], options["email"])
    scopes = _scopes(options["scopes"])
    api_key, key = create_api_key(
        organization=organization,
        command=None if Scope.MANAGE in scopes else command,
        owner=user,
        name="bootstrap",
        scopes=scopes,
        expires_at=_expiry(options["expires_days"]),
    )
    return {
        "organization": {
            "uuid": str(organization.uuid),
            "name": organization.name,
            "timezone": organization.timezone,
        },
        "command": {
            "uuid": str(command.uuid),
            "name": command.name,
            "callback_url": command.callback_url or None,
            "is_public": command.is_public,
            "signing_secret": command.signing_secret,
            "signature": command.signature,
        },
        "user": {"uuid": str(user.uuid), "full_name": user.full_name, "email": user.email},
        "api_key": key,
        "scopes": api_key.scopes,
        "expires_at": format_instant(api_key.expires_at) if api_key.expires_at else None,
    }


def _scopes(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in Scope.values]
    if unknown or not names:
        raise CommandError(f"--scopes: {', '.join(unknown) or 'none'} given; choose from {', '.join(Scope.values)}.")
    return list(dict.fromkeys(names))


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= MAX_KEY_DAYS:
        raise CommandError(f"--expires-days must be from 1 to {MAX_KEY_DAYS}.")
    return clock.now() + timedelta(days=days)


def _organization(name: str, timezone: str) -> Organization:
    organization = Organization.objects.filter(name=name).first() or Organization(name=name)
    if timezone:
        organization.timezone = check_zone(timezone)
    return _saved(organization, changed=["timezone"])


def _command(organization: Organization, name: str, callback_url: str, *, public: bool) -> PlatformCommand:
    command = PlatformCommand.objects.filter(organization=organization, name=name).first()
    command = command or PlatformCommand(organization=organization, name=name)
    if callback_url:
        command.callback_url = address_guard().check_url(callback_url)
    command.is_public = command.is_public or public
    return _saved(command, changed=["callback_url", "is_public"])


def _user(organization: Organization, full_name: str, email: str) -> User:
    user = User.objects.filter(organization=organization, full_name=full_name).order_by("pk").first()
    user = user or User(organization=organization, full_name=full_name)
    if email:
        user.email = email
    return _saved(user, changed=["email"])


def _saved(row: Row, *, changed: list[str]) -> Row:
    kind = row._meta.verbose_name
    if not row.is_active:
        raise CommandError(f"The {kind} {str(row)!r} is not active: activate it in the admin first.")
    try:
        row.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise CommandError(
            "; ".join(f"{kind} {field}: {' '.join(says)}" for field, says in error.message_dict.items())
        ) from error
    if row.pk is None:
        return create_in_directory(row=row)
    return change_in_directory(row=row, changes={name: getattr(row, name) for name in changed})


def _for_people(made: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"Organization   {made['organization']['uuid']}  {made['organization']['name']}",
            f"Command        {made['command']['uuid']}  {made['command']['name']}",
            f"Callback URL   {made['command']['callback_url'] or '-'}",
            f"Signing secret {made['command']['signing_secret']}",
            f"Signature      {made['command']['signature']}",
            f"User           {made['user']['uuid']}  {made['user']['full_name']}",
            f"API key        {made['api_key']}  (not shown again)",
            f"Scopes         {', '.join(made['scopes'])}",
            f"Expires        {made['expires_at'] or 'never'}",
        ]
    )
