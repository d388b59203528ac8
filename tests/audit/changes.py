"""Reads recorded changes, and makes some."""

from __future__ import annotations

from audit.kinds import Verb
from audit.models import Change
from audit.sealing import seal_changes
from audit.services import record
from audit.subjects import identity_of, values_of
from organizations.models import Organization
from tests.factories import make_user


def changes_of(row: object) -> list[Change]:
    """Returns the changes of a row, oldest first."""
    return list(Change.objects.filter(object_uuid=identity_of(row)).order_by("pk"))  # type: ignore[arg-type]


def last_change_of(row: object) -> Change:
    return changes_of(row)[-1]


def make_changes(organization: Organization, count: int) -> list[Change]:
    """Records that a user was renamed `count` times. Returns the changes, oldest first."""
    user = make_user(organization)
    for number in range(count):
        before = values_of(user)
        user.full_name = f"Ada {number}"
        record(Verb.CHANGED, user, before=before)
    return changes_of(user)


def seal_all() -> int:
    """Seals every change, however slow the machine is. Returns the number of changes sealed."""
    total = 0
    while count := seal_changes():
        total += count
    return total


def make_chain(organization: Organization, count: int) -> list[Change]:
    """Records and seals this many changes. Returns them, oldest first."""
    changes = make_changes(organization, count)
    seal_all()
    for change in changes:
        change.refresh_from_db()
    return changes
