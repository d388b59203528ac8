"""Says who is acting: the caller of the current request, the operator in the admin, or else this process.

Finding out costs nothing until a change is recorded, because a request leaves a function here and not its result.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

from django.conf import settings

from audit.kinds import ActorKind


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change. `address` is the address of the client, or empty."""

    kind: ActorKind
    name: str
    uuid: UUID | None = None
    address: str = ""


FindActor = Callable[[], Actor]

_find: ContextVar[FindActor | None] = ContextVar("audit_actor", default=None)


@contextmanager
def acting_as(find: FindActor) -> Iterator[None]:
    """Makes `find` name the actor inside the block."""
    token = _find.set(find)
    try:
        yield
    finally:
        _find.reset(token)


def current_actor() -> Actor:
    """Returns who is acting."""
    find = _find.get()
    return find() if find is not None else _process_actor()


@cache
def _process_actor() -> Actor:
    """Returns the person who runs manage.py, with the name of the command, or else the platform's own process."""
    if Path(sys.argv[0]).name == "manage.py":
        return Actor(ActorKind.COMMAND_LINE, " ".join([_account(), *sys.argv[1:2]]))
    return Actor(ActorKind.PLATFORM, settings.PROCESS_NAME)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the account may have no name.
        return f"uid {os.getuid()}"
