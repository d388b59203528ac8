"""Records changes. Every service that changes an audited row calls `record` in the transaction of the change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from django.db import connection

from audit.actors import current_actor
from audit.kinds import Verb
from audit.subjects import AuditedRow, Values, identity_of, organization_of, values_of, without_defaults
from commands_platform.lib import clock
from commands_platform.lib.clock import NOW_SQL
from commands_platform.lib.correlation import current_correlation_id
from commands_platform.lib.database.identifiers import new_ledger_id
from commands_platform.lib.database.statements import execute

_INSERT_CHANGES = f"""
INSERT INTO audit_change (
    id, organization_id, recorded_at, actor_kind, actor_uuid, actor_name, actor_address, correlation_id,
    verb, object_kind, object_uuid, object_name, old, new, hash
)
SELECT c.id, c.organization_id, {NOW_SQL}, %(actor_kind)s, %(actor_uuid)s::uuid, %(actor_name)s, %(actor_address)s,
       %(correlation_id)s, %(verb)s, c.object_kind, c.object_uuid, c.object_name, c.old, c.new, ''
FROM json_to_recordset(%(changes)s::json) AS c(
    id uuid, organization_id bigint, object_kind text, object_uuid text, object_name text, old text, new text
)
"""  # noqa: S608


# The same with positional parameters, as Django's own statements have.
_PARAMETER_NAMES = re.findall(r"%\((\w+)\)s", _INSERT_CHANGES)
_INSERT_CHANGES_BY_POSITION = re.sub(r"%\(\w+\)s", "%s", _INSERT_CHANGES)


@contextmanager
def recording_its_insert(row: AuditedRow) -> Iterator[None]:
    """Records the creation of a row in the very statement that inserts it, which is the only one of the block.

    Both are stored or neither is, without a transaction around two statements. Callers create schedules often.
    """
    parameters = _parameters(Verb.CREATED, [_change_of(Verb.CREATED, row, None)])
    recorded = [parameters[name] for name in _PARAMETER_NAMES]

    def add(execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Any) -> Any:
        return execute(f"WITH recorded AS ({_INSERT_CHANGES_BY_POSITION}) {sql}", (*recorded, *values), many, context)

    with connection.execute_wrapper(add):
        yield


def record(verb: Verb, row: AuditedRow, *, before: Values | None = None) -> None:
    """Records what was done to a row, and who does it.

    Call it in the transaction of the change: after the row is saved, or before it is deleted. For a change, `before` is
    `values_of` the row as it was, or some of these values. If none of them differs, nothing is recorded.
    """
    record_all(verb, [(row, before)])


def record_all(verb: Verb, rows: Iterable[tuple[AuditedRow, Values | None]]) -> None:
    """Records the same for several rows, each with its `before`, in one statement."""
    changes = [change for row, before in rows if (change := _change_of(verb, row, before)) is not None]
    if not changes:
        return
    execute(_INSERT_CHANGES, _parameters(verb, changes))


def _parameters(verb: Verb, changes: Sequence[object]) -> dict[str, object]:
    actor = current_actor()
    return {
        "now": clock.replaced(),
        "actor_kind": actor.kind.value,
        "actor_uuid": actor.uuid,
        "actor_name": actor.name,
        "actor_address": actor.address,
        "correlation_id": current_correlation_id() or "",
        "verb": verb.value,
        "changes": orjson.dumps(changes).decode(),
    }


def _change_of(verb: Verb, row: AuditedRow, before: Values | None) -> dict[str, object] | None:
    old: Values = {}
    new: Values = {}
    if verb is Verb.CREATED:
        new = without_defaults(row, values_of(row))
    elif verb is Verb.DELETED:
        old = without_defaults(row, values_of(row))
    elif before is not None:
        after = values_of(row, only=before)
        changed = [name for name, value in after.items() if value != before[name]]
        if not changed:
            return None
        old = {name: before[name] for name in changed}
        new = {name: after[name] for name in changed}
    return {
        "id": new_ledger_id(),
        "organization_id": organization_of(row),
        "object_kind": row.audited_as.value,
        "object_uuid": identity_of(row),
        "object_name": str(row),
        "old": orjson.dumps(old).decode(),
        "new": orjson.dumps(new).decode(),
    }
