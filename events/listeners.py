"""Finds the hooks that want an event, in SQL, so that their lists never leave the database."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from auth_tokens.scopes import Scope
from commands_platform.lib.database.statements import rows_as, rows_of
from deliveries import sendable
from events.matching import patterns_for

# In another organization, a command hears only of the events that its installation allows.
INSTALLATION_JOIN = """
LEFT JOIN organizations_installation i ON i.command_id = h.command_id AND i.organization_id = h.organization_id
    AND i.removed_at IS NULL
"""


def hears_sql(*, organization_id: str, patterns: str) -> str:
    """Returns the condition that the hook `h` wants events of some name, at least about some objects.

    `patterns` is an expression for all patterns that match the name. The condition needs INSTALLATION_JOIN.
    """
    is_allowed = f"i.id IS NULL OR ('{Scope.EVENT_SUBSCRIPTION}' = ANY(i.scopes) AND i.events && {patterns})"
    return f"h.organization_id = {organization_id} AND h.subscriptions && {patterns} AND ({is_allowed})"


# Objects matter only if the hook lists some and the event names one.
_WANTS = (
    hears_sql(organization_id="%(organization)s", patterns="%(patterns)s::text[]")
    + " AND (%(object)s = '' OR h.subscribed_objects = '{}' OR %(object)s = ANY(h.subscribed_objects))"
)

_COUNT = f"SELECT count(*) FROM events_hook h {INSTALLATION_JOIN} WHERE {_WANTS}"

# Where a hook sends to, with the aliases `h` and `c` for the hook and its command.
URL_SQL = "CASE WHEN h.callback_url = '' THEN c.callback_url ELSE h.callback_url END"
_REASON = sendable.reason_sql(user_id="h.user_id", url=URL_SQL, scope=f"'{Scope.EVENT_SUBSCRIPTION}'")
_LISTENERS = f"""
SELECT h.id, h.command_id, h.user_id, COALESCE(NULLIF(h.name, ''), c.name, '') AS name, COALESCE({URL_SQL}, '') AS url,
       CASE WHEN h.headers = '{{}}' THEN '' ELSE h.headers END AS headers,
       {_REASON} AS reason, u.uuid AS user_uuid, u.full_name AS user_full_name
FROM events_hook h
{INSTALLATION_JOIN}
{sendable.joins_sql(organization_id="h.organization_id", command_id="h.command_id", user_id="h.user_id")}
"""
_NEXT = f"""
{_LISTENERS}
WHERE {_WANTS} AND h.id > %(after)s AND h.id <= %(until)s
ORDER BY h.id LIMIT %(limit)s
"""
_ONE = f"{_LISTENERS} WHERE h.id = %(hook)s"


class Listener(NamedTuple):
    """A hook that wants an event, and what its delivery needs."""

    id: int
    command_id: int
    user_id: int | None
    name: str
    """The hook's own name, or else the command's."""
    url: str
    headers: str
    reason: str
    """The Reason why nothing can be sent now, or an empty string."""
    user_uuid: UUID | None
    user_full_name: str | None


def count_listeners(*, organization_id: int, name: str, object_id: str) -> int:
    """Returns the number of hooks that want an event. `object_id` is empty if it is about no single object."""
    [(count,)] = rows_of(_COUNT, _event(organization_id, name, object_id))
    return int(count)


def next_listeners(
    *, organization_id: int, name: str, object_id: str, after: int, until: int, limit: int
) -> list[Listener]:
    """Returns the first hooks that want an event, of those with a number above `after` and not above `until`."""
    bounds = {"after": after, "until": until, "limit": limit}
    return rows_as(Listener, _NEXT, _event(organization_id, name, object_id) | bounds)


def find_listener(hook_id: int) -> Listener | None:
    """Returns the hook with this number, whatever events it wants."""
    found = rows_as(Listener, _ONE, {"hook": hook_id})
    return found[0] if found else None


def _event(organization_id: int, name: str, object_id: str) -> dict[str, object]:
    return {"organization": organization_id, "patterns": sorted(patterns_for(name)), "object": object_id}
