"""Writes thousands of hooks by SQL, and publishes an event: `python -m benchmarks.support.hooks ORGANIZATION NAME`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.support.platform import MeasuredPlatform, Owner

# A command has one hook for each user.
_INSERT_USERS = """
INSERT INTO organizations_user SELECT (jsonb_populate_record(u, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('organizations_user', 'id')), 'uuid', gen_random_uuid(), 'email', ''
))).* FROM organizations_user u, generate_series(1, %(count)s) WHERE u.id = %(user)s
"""
_INSERT_HOOKS = """
INSERT INTO events_hook (
    organization_id, command_id, user_id, subscriptions, subscribed_objects, callback_url, name, headers, created_at,
    updated_at
)
SELECT %(organization)s, %(command)s, u.id, ARRAY[%(pattern)s], '{}', '', '', '{}', now(), now()
FROM organizations_user u WHERE u.organization_id = %(organization)s AND u.id <> %(user)s
ON CONFLICT DO NOTHING
"""


def insert_hooks(running: MeasuredPlatform, owner: Owner, *, count: int, pattern: str) -> None:
    """Inserts `count` hooks of the owner's command, each for a new user."""
    values = {
        "count": count,
        "user": owner.user_id,
        "organization": owner.organization_id,
        "command": owner.command_id,
        "pattern": pattern,
    }
    running.execute(_INSERT_USERS, values)
    running.execute(_INSERT_HOOKS, values)


def main(organization: int, name: str) -> None:
    import django

    django.setup()
    from events.publishing import NewEvent, publish

    stored = publish([NewEvent(organization, name, {"from": "Ada"}, None, datetime.now(UTC))])
    print(json.dumps({"stored": stored}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
