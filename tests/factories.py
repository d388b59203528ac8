"""Factories of rows. Each test states only the values that matter to it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from auth_tokens import services as auth_services
from auth_tokens import tokens
from auth_tokens.callers import find_caller
from auth_tokens.models import ApiKey, TokenSubject
from auth_tokens.scopes import COMMAND_SCOPES, INSTALLABLE_SCOPES
from commands_platform.lib import clock
from commands_platform.lib.database.encrypted import encrypted_json
from deliveries.attempts import Attempt, Timings
from deliveries.models import Delivery, Kind, State
from organizations.models import Command, Installation, Organization, User
from processes.models import Process, Role
from scheduling.models import ScheduledExecution

_numbers = count(1)

_EVENT_BODY = '{"event":"kudos.posted","body":{},"exchange_token":null}'


def make_organization(**values: Any) -> Organization:
    return Organization.objects.create(**{"name": f"Organization {next(_numbers)} {uuid4()}", **values})


def make_user(organization: Organization | None = None, **values: Any) -> User:
    return User.objects.create(
        **{
            "organization": organization or make_organization(),
            "full_name": "Ada Lovelace",
            "email": f"ada{next(_numbers)}@example.com",
            **values,
        }
    )


def make_command(organization: Organization | None = None, **values: Any) -> Command:
    return Command.objects.create(
        **{"organization": organization or make_organization(), "name": f"command-{next(_numbers)}", **values}
    )


def make_installation(command: Command, organization: Organization, **values: Any) -> Installation:
    """Installs the public command in another organization, with every scope and event."""
    return Installation.objects.create(
        **{
            "command": command,
            "organization": organization,
            "scopes": INSTALLABLE_SCOPES,
            "events": ["*"],
            "installed_at": clock.now(),
            **values,
        }
    )


def make_api_key(
    organization: Organization | None = None,
    *,
    command: Command | None = None,
    scopes: list[str] | None = None,
    **values: Any,
) -> tuple[ApiKey, str]:
    """Returns the key's row and the key itself."""
    if organization is None:
        organization = command.organization if command else make_organization()
    return auth_services.create_api_key(
        organization=organization, command=command, scopes=COMMAND_SCOPES if scopes is None else scopes, **values
    )


def make_token(command: Command, user: User | None = None) -> str:
    return tokens.make_token(command=command, user=user)


def read_token(token: str) -> TokenSubject | None:
    """Returns the command, user and organization of a token that is sent with a key of its command."""
    claim = tokens.read_claim(token)
    if claim is None:
        return None
    _, key = make_api_key(command=Command.objects.get(pk=claim.command_id))
    sent = find_caller(key=key, token=token).sent_token
    return sent if isinstance(sent, TokenSubject) else None


def make_schedule(command: Command | None = None, **values: Any) -> ScheduledExecution:
    """Creates an hourly schedule that is not due for a long time. Pass `next_run_at` for one that is due."""
    command = command or make_command()
    now = clock.now()
    return ScheduledExecution.objects.create(
        **{
            "organization": command.organization,
            "command": command,
            "name": "report",
            "execution_frequency": 3600,
            "anchor_at": now,
            "effective_from": now,
            "next_run_at": now.replace(year=now.year + 1, day=1),
            **values,
        }
    )


def make_delivery(command: Command | None = None, **values: Any) -> Delivery:
    """Creates a pending delivery that is due now. `headers` is the text of a JSON object, or empty."""
    if headers := values.get("headers"):
        values["headers"] = encrypted_json(json.loads(headers))
    command = command or make_command()
    now: datetime = values.pop("now", None) or clock.now()
    return Delivery.objects.create(
        **{
            "organization": command.organization,
            "command": command,
            "kind": Kind.SCHEDULED,
            "source_uuid": uuid4(),
            "due_at": now,
            "state": State.PENDING,
            "next_attempt_at": now,
            "expires_at": now + timedelta(days=1),
            "max_attempts": 8,
            "url": "http://127.0.0.1:9/callback",
            "schedule_name": "report",
            "body": _EVENT_BODY if values.get("kind") == Kind.EVENT else "{}",
            **values,
        }
    )


def make_attempt(**values: Any) -> Attempt:
    """Returns an attempt that was answered with 503, as the sender writes it."""
    return Attempt(
        **{
            "number": 1,
            "started_at": clock.now() - timedelta(seconds=5),
            "status": 503,
            "timings": Timings(dns=1000, connect=2000, tls=0, first_byte=3000, total=6500),
            "address": "127.0.0.1",
            "message": "The receiver answered with status 503.",
            **values,
        }
    )


def make_process(
    role: Role, *, seen_ago: timedelta = timedelta(), worked_ago: timedelta | None = None, **values: Any
) -> Process:
    """Creates a process that has reported for an hour without a gap."""
    now = clock.now()
    return Process.objects.create(
        **{
            "role": role,
            "host": "a",
            "pid": 1,
            "version": "1",
            "started_at": now - timedelta(hours=1),
            "steady_since": now - timedelta(hours=1),
            "seen_at": now - seen_ago,
            "worked_at": None if worked_ago is None else now - worked_ago,
            **values,
        }
    )
