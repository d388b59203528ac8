"""The queue side of the ledger, in SQL: claiming what is due under a lease, and recording what came of it.

A claim is a lease: when it ends the row is free again, so that of a sender that dies comes back by itself. Whatever is
written later names the lease; a sender that has lost it writes nothing. Claiming and releasing change no column that an
index knows, which makes them cheap (PostgreSQL's heap-only tuples).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.conf import settings
from django.db import connection, transaction

from commands_platform.lib import clock
from commands_platform.lib.identifiers import new_ledger_id
from deliveries.models import Kind, Reason, State
from deliveries.signals import deliveries_failed


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """What a callback needs to know of its command."""

    id: int
    token_generation: int
    signing_secrets: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery that this process holds until its lease ends, with all that is needed to send it."""

    id: UUID
    lease: UUID
    kind: str
    reason: str
    url: str
    origin: str
    headers: str
    timeout: int | None
    body: str
    attempt: int
    max_attempts: int
    attempts_before: int
    command: CommandFacts
    user_id: int | None
    user_token_generation: int
    skip: Reason | None
    held_since: float
    lateness: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the row's next state, and the attempt's own record (None where nothing was sent)."""

    id: UUID
    lease: UUID
    state: State
    reason: str = ""
    retry_in: timedelta | None = None
    status: int | None = None
    attempt: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be written: one slot to be sent, or one slot or run of slots that was skipped."""

    organization_id: int
    command_id: int
    user_id: int | None
    kind: Kind
    source_uuid: UUID
    due_at: datetime
    destination: str = ""
    url: str = ""
    origin: str = ""
    body: str = ""
    skipped: Reason | None = None
    last_due_at: datetime | None = None
    slot_count: int = 1
    headers: str = ""
    timeout: int | None = None
    max_attempts: int | None = None


_ROWS_AT_ONCE = 1_000
_BODIES_AT_ONCE = 4 * 1024 * 1024

# A slot that is already there stays as it is: however often it is found due, it is written once.
_INSERT = """
INSERT INTO deliveries_delivery (
    id, organization_id, command_id, user_id, kind, source_uuid, destination, due_at, last_due_at, slot_count, state,
    reason, url, origin, headers, timeout, body, attempt_count, max_attempts, next_attempt_at, expires_at, attempts,
    created_at, finished_at
)
SELECT v.id, v.organization_id, v.command_id, v.user_id, v.kind, v.source_uuid, v.destination, v.due_at, v.last_due_at,
       v.slot_count, v.state, v.reason, v.url, v.origin, v.headers, v.timeout, v.body, 0, v.max_attempts,
       CASE WHEN v.state = 'pending' THEN v.due_at END, %(expires)s, '[]', %(now)s,
       CASE WHEN v.state <> 'pending' THEN %(now)s END
FROM json_to_recordset(%(rows)s::json) AS v(
    id uuid, organization_id bigint, command_id bigint, user_id bigint, kind text, source_uuid uuid, destination text,
    due_at timestamptz, last_due_at timestamptz, slot_count bigint, state text, reason text, url text, origin text,
    headers text, timeout smallint, body text, max_attempts smallint
)
ON CONFLICT (source_uuid, due_at, destination) DO NOTHING
"""

# The joins are outer ones: a row whose command is gone must come back to be ended, not vanish until its lease is over.
_CLAIM = """
WITH due AS (
    SELECT id, next_attempt_at FROM deliveries_delivery
    WHERE state = 'pending' AND next_attempt_at <= %(now)s AND next_attempt_at > %(since)s
      AND (lease IS NULL OR leased_until <= %(now)s) AND {which}
    ORDER BY next_attempt_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE deliveries_delivery d
    SET leased_until = %(lease_ends)s, lease = %(lease)s, attempt_count = d.attempt_count + 1
    FROM due WHERE d.id = due.id
    RETURNING d.id, d.kind, d.reason, d.url, d.origin, d.headers, d.timeout, d.body, d.attempt_count, d.max_attempts,
              d.attempts_before,
              due.next_attempt_at, d.command_id, d.user_id, d.organization_id
)
SELECT claimed.id, claimed.kind, claimed.reason, claimed.url, claimed.origin, claimed.headers, claimed.timeout,
       claimed.body, claimed.attempt_count, claimed.max_attempts, claimed.attempts_before, claimed.command_id,
       claimed.user_id, %(now)s - claimed.next_attempt_at,
       c.token_generation, c.signing_secret,
       CASE WHEN c.previous_secret_expires_at > %(now)s THEN c.previous_signing_secret END, c.signature,
       c.is_active AND co.is_active AND o.is_active AND (c.is_public OR c.organization_id = claimed.organization_id),
       u.token_generation, u.is_active AND uo.is_active
FROM claimed
LEFT JOIN organizations_organization o ON o.id = claimed.organization_id
LEFT JOIN organizations_command c ON c.id = claimed.command_id
LEFT JOIN organizations_organization co ON co.id = c.organization_id
LEFT JOIN organizations_user u ON u.id = claimed.user_id
LEFT JOIN organizations_organization uo ON uo.id = u.organization_id
ORDER BY claimed.next_attempt_at, claimed.id
"""
_CLAIM_BUT = _CLAIM.format(which="origin <> ALL(%(origins)s)")
_CLAIM_OF = _CLAIM.format(which="origin = ANY(%(origins)s)")

# A cancellation that came while the request was under way stands in `reason`: it forbids a retry, not a success.
_RECORD = """
UPDATE deliveries_delivery d
SET state = CASE WHEN v.state = 'pending' AND d.reason <> '' THEN 'cancelled' ELSE v.state END,
    reason = CASE WHEN v.state = 'delivered' THEN '' WHEN v.state = 'pending' THEN d.reason ELSE v.reason END,
    next_attempt_at = CASE WHEN v.state = 'pending' AND d.reason = '' THEN v.next_attempt_at END,
    finished_at = CASE WHEN v.state = 'pending' AND d.reason = '' THEN NULL ELSE %(now)s END,
    lease = NULL, leased_until = NULL,
    last_status = COALESCE(v.status, CASE WHEN v.attempt IS NULL THEN d.last_status END),
    attempts = CASE WHEN v.attempt IS NULL THEN d.attempts ELSE d.attempts || v.attempt END
FROM json_to_recordset(%(outcomes)s::json) AS v(
    id uuid, lease uuid, state text, reason text, next_attempt_at timestamptz, status smallint, attempt jsonb
)
WHERE d.id = v.id AND d.lease = v.lease
RETURNING d.id, d.state, d.kind
"""

# An attempt that was never begun is not counted.
_RELEASE = """
UPDATE deliveries_delivery
SET lease = NULL, leased_until = NULL, attempt_count = attempt_count - 1
WHERE id = ANY(%(ids)s) AND lease = %(lease)s AND state = 'pending'
"""

# While an origin does not answer, what is due for it waits for the next try, and does not count as tried.
_DEFER = """
UPDATE deliveries_delivery d
SET next_attempt_at = CASE WHEN due.is_over THEN NULL ELSE %(until)s END,
    state = CASE WHEN due.is_over THEN 'failed' ELSE 'pending' END,
    reason = CASE WHEN due.is_over THEN 'expired' ELSE d.reason END,
    finished_at = CASE WHEN due.is_over THEN %(now)s END,
    lease = NULL, leased_until = NULL
FROM (
    SELECT id, expires_at < %(now)s AND reason = '' AS is_over FROM deliveries_delivery
    WHERE state = 'pending' AND next_attempt_at <= %(now)s AND (lease IS NULL OR leased_until <= %(now)s)
      AND origin = %(origin)s
    ORDER BY next_attempt_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) due
WHERE d.id = due.id
RETURNING d.id, d.state, d.kind
"""


def insert(rows: Iterable[NewRow], *, now: datetime) -> int:
    """Writes the rows; how many of them were new. The caller tells a sender, after its commit."""
    return sum(_insert(portion, now) for portion in _portions(rows))


def _portions(rows: Iterable[NewRow]) -> Iterator[list[NewRow]]:
    """The rows in portions that a statement and its parameter can take, whatever their bodies' length."""
    portion: list[NewRow] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += len(row.body)
        if len(portion) == _ROWS_AT_ONCE or size >= _BODIES_AT_ONCE:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _insert(rows: list[NewRow], now: datetime) -> int:
    default_attempts = len(settings.DELIVERY_RETRY_DELAYS) + 1
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            {
                "now": now,
                "expires": now + settings.DELIVERY_EXPIRES_AFTER,
                "rows": json_rows([_values(row, default_attempts) for row in rows]),
            },
        )
        return int(cursor.rowcount)


def json_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as one parameter for `json_to_recordset`: psycopg escapes each text of an array by itself, in Python."""
    return orjson.dumps(rows).decode()


def _values(row: NewRow, default_attempts: int) -> dict[str, object]:
    return {
        "id": new_ledger_id(),
        "organization_id": row.organization_id,
        "command_id": row.command_id,
        "user_id": row.user_id,
        "kind": row.kind,
        "source_uuid": row.source_uuid,
        "destination": row.destination,
        "due_at": row.due_at,
        "last_due_at": row.last_due_at,
        "slot_count": row.slot_count,
        "state": State.PENDING if row.skipped is None else State.SKIPPED,
        "reason": row.skipped or "",
        "url": row.url,
        "origin": row.origin,
        "headers": row.headers,
        "timeout": row.timeout,
        "body": row.body,
        "max_attempts": row.max_attempts or default_attempts,
    }


def claim_due(
    *,
    limit: int,
    lease: timedelta,
    but: Sequence[str] = (),
    origin: str | None = None,
    no_later_than: timedelta | None = None,
) -> list[Claim]:
    """Up to `limit` due deliveries, oldest first, which are this caller's alone until the lease ends.

    Those of `origin` alone where one is given, else those of all origins but those in `but`; with `no_later_than` only
    those that are due for less long than that.
    """
    # Read before the rows are locked: the lease as this process sees it ends no later than the database's.
    held_since = time.monotonic()
    now, token = clock.now(), uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM_BUT if origin is None else _CLAIM_OF,
            {
                "now": now,
                "since": "-infinity" if no_later_than is None else now - no_later_than,
                "limit": limit,
                "lease_ends": now + lease,
                "lease": token,
                "origins": list(but) if origin is None else [origin],
            },
        )
        rows = cursor.fetchall()
    return [_claim(token, held_since, row) for row in rows]


def _claim(lease: UUID, held_since: float, row: tuple[Any, ...]) -> Claim:
    id_, kind, reason, url, origin, headers, timeout, body, attempt, max_attempts, before, command_id, *facts = row
    (
        user_id,
        lateness,
        generation,
        secret,
        previous_secret,
        signature,
        is_command_active,
        user_generation,
        is_user_active,
    ) = facts
    skip: Reason | None = None
    if not is_command_active:
        skip = Reason.COMMAND_INACTIVE
    elif user_id is not None and not is_user_active:
        skip = Reason.USER_INACTIVE
    secrets = tuple(each for each in (secret, previous_secret) if each)
    return Claim(
        id=id_,
        lease=lease,
        kind=kind,
        reason=reason,
        url=url,
        origin=origin,
        headers=headers,
        timeout=timeout,
        body=body,
        attempt=attempt,
        max_attempts=max_attempts,
        attempts_before=before,
        command=CommandFacts(command_id, generation or 0, secrets, signature or ""),
        user_id=user_id,
        user_token_generation=user_generation or 0,
        skip=skip,
        held_since=held_since,
        lateness=lateness,
    )


def record(outcomes: Sequence[Outcome]) -> int:
    """Writes the outcomes whose lease is still ours, in one statement, with what follows from them; how many."""
    with transaction.atomic():
        now = clock.now()
        with connection.cursor() as cursor:
            cursor.execute(
                _RECORD,
                {
                    "now": now,
                    "outcomes": json_rows(
                        [
                            {
                                "id": outcome.id,
                                "lease": outcome.lease,
                                "state": outcome.state,
                                "reason": outcome.reason,
                                "next_attempt_at": None if outcome.retry_in is None else now + outcome.retry_in,
                                "status": outcome.status,
                                "attempt": outcome.attempt,
                            }
                            for outcome in outcomes
                        ]
                    ),
                },
            )
            rows = cursor.fetchall()
        _tell_failures(rows)
    return len(rows)


def _tell_failures(rows: Sequence[tuple[UUID, str, str]]) -> None:
    # An event's own failed delivery makes no further event: a hook on failures that fails would feed itself.
    failed = [id_ for id_, state, kind in rows if state == State.FAILED and kind != Kind.EVENT]
    if failed:
        deliveries_failed.send(sender=None, ids=failed)


def defer(*, origin: str, by: timedelta, limit: int) -> int:
    """Puts off up to `limit` due deliveries of an origin that does not answer; how many they were.

    Those that have been due for longer than every retry would have taken have failed.
    """
    now = clock.now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                _DEFER,
                {
                    "now": now,
                    "until": now + by,
                    "origin": origin,
                    "limit": limit,
                },
            )
            rows = cursor.fetchall()
        _tell_failures(rows)
    return len(rows)


def release(claims: Sequence[Claim]) -> None:
    """Gives back claims that no request was made for."""
    by_lease: dict[UUID, list[UUID]] = {}
    for claim in claims:
        by_lease.setdefault(claim.lease, []).append(claim.id)
    with connection.cursor() as cursor:
        for lease, ids in by_lease.items():
            cursor.execute(_RELEASE, {"ids": ids, "lease": lease})
