"""The queue side of the ledger, in SQL: claiming what is due under a lease, and recording what came of it.

A claim is a lease: when it ends the row is free again, so that of a sender that dies comes back by itself. Whatever is
written later names the lease; a sender that has lost it writes nothing. Claiming and releasing change no column that an
index knows, which makes them cheap (PostgreSQL's heap-only tuples).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID, uuid4

import orjson
from django.db import transaction

from commands_platform.lib import clock
from commands_platform.lib.database.statements import execute, rows_of
from commands_platform.lib.encryption import EncryptedText, decrypt_if_possible
from deliveries import sendable
from deliveries.models import Kind, State
from deliveries.signals import deliveries_failed


class CommandFacts(NamedTuple):
    """What a callback needs to know of its command."""

    id: int
    token_generation: int
    signing_secrets: tuple[str, ...]
    signature: str
    is_readable: bool
    """False if its secrets cannot be decrypted."""


class Claim(NamedTuple):
    """One delivery that this process holds until its lease ends, with all that is needed to send it."""

    id: UUID
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
    user_id: int | None
    user_token_generation: int
    lateness: timedelta
    skip: str
    """The Reason why it cannot be sent now; empty where it can."""
    command: CommandFacts
    lease: UUID
    held_since: float


class Outcome(NamedTuple):
    """How an attempt ended: the row's next state, and the attempt's own record (None where nothing was sent)."""

    id: UUID
    lease: UUID
    state: State
    reason: str = ""
    retry_in: timedelta | None = None
    status: int | None = None
    attempt: dict[str, object] | None = None


_EVER = timedelta(days=100_000)
_RECENT = timedelta(seconds=1)

# The database's clock, where no other one replaces it.
_NOW = "COALESCE(%(now)s::timestamptz, statement_timestamp())"

_OLDEST = """
SELECT id, next_attempt_at FROM deliveries_delivery
WHERE state = 'pending' AND next_attempt_at <= {now} AND next_attempt_at > {now} - %(no_later_than)s
  AND (lease IS NULL OR leased_until <= {now})
ORDER BY next_attempt_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# Each origin's by itself, along an index of its own: past the backlog of one there is a short way to the next.
_OLDEST_OF_EACH = """
SELECT oldest.id, oldest.next_attempt_at FROM unnest(%(origins)b::text[], %(limits)b::int[]) AS wanted(origin, most),
LATERAL (
    SELECT id, next_attempt_at FROM deliveries_delivery
    WHERE state = 'pending' AND origin = wanted.origin AND next_attempt_at <= {now}
      AND next_attempt_at > {now} - %(no_later_than)s AND (lease IS NULL OR leased_until <= {now})
    ORDER BY next_attempt_at LIMIT wanted.most
    FOR UPDATE SKIP LOCKED
) oldest
LIMIT %(limit)s
"""

# The commit of a claim does not wait for the disk: a crash of the database would only make it void.
_CLAIM = """
WITH due AS ({due}), claimed AS (
    UPDATE deliveries_delivery d
    SET leased_until = {now} + %(lease_for)s, lease = %(lease)s, attempt_count = d.attempt_count + 1
    FROM due WHERE d.id = due.id AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
    RETURNING d.id, d.kind, d.reason, d.url, d.origin, d.headers, d.timeout, d.body, d.attempt_count, d.max_attempts,
              d.attempts_before, due.next_attempt_at, d.command_id, d.user_id, d.organization_id
)
SELECT claimed.id, claimed.kind, claimed.reason, claimed.url, claimed.origin, claimed.headers, claimed.timeout,
       claimed.body, claimed.attempt_count, claimed.max_attempts, claimed.attempts_before, claimed.user_id,
       COALESCE(u.token_generation, 0), {now} - claimed.next_attempt_at,
       {reason},
       claimed.command_id, COALESCE(c.token_generation, 0), c.signing_secret,
       CASE WHEN c.previous_secret_expires_at > {now} THEN c.previous_signing_secret END, COALESCE(c.signature, '')
FROM claimed
{joins}ORDER BY claimed.next_attempt_at, claimed.id
"""
_PARTIES = sendable.joins_sql(
    organization_id="claimed.organization_id", command_id="claimed.command_id", user_id="claimed.user_id"
)
_REASON = sendable.reason_sql(user_id="claimed.user_id", url="claimed.url")
_CLAIM_OLDEST, _CLAIM_OF_EACH = (
    _CLAIM.replace("{due}", due).format(now=_NOW, joins=_PARTIES, reason=_REASON) for due in (_OLDEST, _OLDEST_OF_EACH)
)

# One probe of the index for each origin, whatever is due for it.
_ORIGINS = """
WITH RECURSIVE found AS (
    SELECT %(after)s::text AS origin, 0 AS number
    UNION ALL
    SELECT (
        SELECT d.origin FROM deliveries_delivery d WHERE d.state = 'pending' AND d.origin > found.origin
        ORDER BY d.origin LIMIT 1
    ), number + 1
    FROM found WHERE origin IS NOT NULL AND number < %(limit)s
)
SELECT origin FROM found WHERE origin IS NOT NULL AND number > 0
"""

# The state stands in the text: a plan for any parameters could not use the index of what is pending.
_FREE = f"""
SELECT FROM deliveries_delivery
WHERE state = 'pending' AND next_attempt_at <= COALESCE(%(until)s::timestamptz, {_NOW})
  AND (lease IS NULL OR leased_until <= {_NOW})
"""
_COUNT_FREE = f"""
SELECT greatest(
    (SELECT count(*) FROM ({_FREE} AND next_attempt_at > COALESCE(%(until)s::timestamptz, {_NOW}) - %(recent)s
                           LIMIT %(most)s) recent),
    (SELECT count(*) FROM ({_FREE} LIMIT 1) oldest)
)
"""

# A cancellation that came while the request was under way stands in `reason`: it forbids a retry, not a success.
_RECORD = f"""
UPDATE deliveries_delivery d
SET state = CASE WHEN v.state = 'pending' AND d.reason <> '' THEN 'cancelled' ELSE v.state END,
    reason = CASE WHEN v.state = 'delivered' THEN '' WHEN v.state = 'pending' THEN d.reason ELSE v.reason END,
    next_attempt_at = CASE WHEN v.state = 'pending' AND d.reason = '' THEN {_NOW} + v.retry_in END,
    finished_at = CASE WHEN v.state = 'pending' AND d.reason = '' THEN NULL ELSE {_NOW} END,
    lease = NULL, leased_until = NULL,
    last_status = COALESCE(v.status, CASE WHEN v.attempt IS NULL THEN d.last_status END),
    attempts = CASE WHEN v.attempt IS NULL THEN d.attempts ELSE d.attempts || v.attempt::jsonb END
FROM unnest(
    %(ids)b::uuid[], %(leases)b::uuid[], %(states)b::text[], %(reasons)b::text[], %(retry_in)b::interval[],
    %(statuses)b::smallint[], %(attempts)b::text[]
) AS v(id, lease, state, reason, retry_in, status, attempt)
WHERE d.id = v.id AND d.lease = v.lease
RETURNING d.id, d.state, d.kind
"""

# An attempt that was never begun is not counted.
_RELEASE = """
UPDATE deliveries_delivery
SET lease = NULL, leased_until = NULL, attempt_count = attempt_count - 1
WHERE id IN (
    SELECT id FROM deliveries_delivery WHERE id = ANY(%(ids)b::uuid[]) AND lease = %(lease)s AND state = 'pending'
    FOR UPDATE SKIP LOCKED
)
"""

# While an origin does not answer, what has been waiting for longer than every retry would have taken ends.
_EXPIRE = """
UPDATE deliveries_delivery d
SET state = 'failed', reason = 'expired', next_attempt_at = NULL, finished_at = %(now)s, lease = NULL,
    leased_until = NULL
FROM (
    SELECT id FROM deliveries_delivery
    WHERE state = 'pending' AND origin = %(origin)s AND next_attempt_at <= %(now)s AND expires_at < %(now)s
      AND reason = '' AND (lease IS NULL OR leased_until <= %(now)s)
    ORDER BY next_attempt_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) old
WHERE d.id = old.id
RETURNING d.id, d.state, d.kind
"""


def claim(
    *, limit: int, lease: timedelta, of: Mapping[str, int] | None = None, no_later_than: timedelta | None = None
) -> list[Claim]:
    """Up to `limit` due deliveries, which are this caller's alone until the lease ends: the oldest, in order.

    `of` names the only origins whose deliveries are asked for, and how many of each; the limit then goes by the order
    of the origins. With `no_later_than` only those that have been due for less long than that.
    """
    # Read before the rows are locked: the lease as this process sees it ends no later than the database's.
    held_since, token = time.monotonic(), uuid4()
    parameters = {
        "now": clock.replaced(),
        "limit": limit,
        "lease_for": lease,
        "lease": token,
        "no_later_than": no_later_than or _EVER,
    }
    if of is None:
        rows = rows_of(_CLAIM_OLDEST, parameters)
    else:
        rows = rows_of(_CLAIM_OF_EACH, parameters | {"origins": list(of), "limits": list(of.values())})
    return [
        Claim._make((*row[:-_COMMAND_COLUMNS], _command(*row[-_COMMAND_COLUMNS:]), token, held_since)) for row in rows
    ]


# They come last in a claim's rows.
_COMMAND_COLUMNS = 5


@lru_cache(maxsize=1024)
def _command(
    id_: int, token_generation: int, secret: str | None, previous_secret: str | None, signature: str
) -> CommandFacts:
    texts = [decrypt_if_possible(each) for each in (secret, previous_secret) if each]
    signature = signature and decrypt_if_possible(signature)
    is_readable = not any(isinstance(each, EncryptedText) for each in (*texts, signature))
    return CommandFacts(id_, token_generation, tuple(texts), signature, is_readable)


def count_due(*, most: int, until: datetime | None = None) -> int:
    """How many may be claimed of those that became due in the last second, `most` at most; 1 if only older ones may.

    With `until`, a time that is still to come, those that will be due by then count too.
    """
    parameters = {"now": clock.replaced(), "until": until, "recent": _RECENT, "most": most}
    return int(rows_of(_COUNT_FREE, parameters)[0][0])


def waiting_origins(*, after: str = "", limit: int) -> list[str]:
    """Up to `limit` origins for which something is still to be sent, now or later, in order, from `after` on."""
    return [origin for (origin,) in rows_of(_ORIGINS, {"after": after, "limit": limit})]


def record(outcomes: Sequence[Outcome]) -> int:
    """Writes the outcomes whose lease is still ours, in one statement, with what follows from them; how many."""
    ids, leases, states, reasons, retry_in, statuses, attempts = zip(*outcomes, strict=True)
    parameters = {
        "now": clock.replaced(),
        "ids": list(ids),
        "leases": list(leases),
        "states": list(states),
        "reasons": list(reasons),
        "retry_in": list(retry_in),
        "statuses": list(statuses),
        "attempts": [attempt and orjson.dumps(attempt).decode() for attempt in attempts],
    }
    if State.FAILED not in states:
        return len(rows_of(_RECORD, parameters))
    with transaction.atomic():
        rows = rows_of(_RECORD, parameters)
        _tell_failures(rows)
    return len(rows)


def _tell_failures(rows: Sequence[tuple[UUID, str, str]]) -> None:
    # An event's own failed delivery makes no further event: a hook on failures that fails would feed itself.
    failed = [id_ for id_, state, kind in rows if state == State.FAILED and kind != Kind.EVENT]
    if failed:
        deliveries_failed.send(sender=None, ids=failed)


def expire(*, origin: str, limit: int) -> int:
    """Fails up to `limit` deliveries that have waited for too long for an origin that does not answer; how many."""
    with transaction.atomic():
        rows = rows_of(_EXPIRE, {"now": clock.now(), "origin": origin, "limit": limit})
        _tell_failures(rows)
    return len(rows)


def release(claims: Sequence[Claim]) -> None:
    """Gives back claims that no request was made for. One whose row somebody holds is free when its lease ends."""
    by_lease: dict[UUID, list[UUID]] = {}
    for claim in claims:
        by_lease.setdefault(claim.lease, []).append(claim.id)
    for lease, ids in by_lease.items():
        execute(_RELEASE, {"ids": ids, "lease": lease})
