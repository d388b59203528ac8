"""The queue side of the ledger, in SQL: claims what is due, under a lease.

When a lease ends, its row is free again, so the rows of a sender that dies come back by themselves. Later writes name
the lease, and a sender that has lost it writes nothing. Claiming and releasing change no indexed column, which makes
them cheap (PostgreSQL's heap-only tuples).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID, uuid4

from commands_platform.lib import clock
from commands_platform.lib.database.statements import rows_as, rows_of
from commands_platform.lib.encryption import EncryptedText, decrypt_if_possible
from deliveries import sendable
from deliveries.models import MAX_COUNT


class CommandFacts(NamedTuple):
    """What a callback needs to know of its command."""

    id: int
    token_generation: int
    signing_secrets: tuple[str, ...]
    signature: str
    next_signature: str
    """The static signature that replaces the other one soon; empty unless it is being rotated."""
    is_readable: bool
    """False if its secrets cannot be decrypted."""


class Claim(NamedTuple):
    """One delivery that this process holds until its lease ends, with all that is needed to send it.

    `size` is its body's, in bytes. `lost` counts earlier claims that never came back: it may have killed their senders.
    """

    id: UUID
    kind: str
    reason: str
    url: str
    origin: str
    headers: str
    timeout: int | None
    body: str
    size: int
    attempt: int
    max_attempts: int
    attempts_before: int
    lost: int
    user_id: int | None
    user_token_generation: int
    lateness: timedelta
    skip: str
    """The Reason why it cannot be sent now; empty where it can."""
    command: CommandFacts
    lease: UUID
    held_since: float


class _Row(NamedTuple):
    """A row of the claim's statement: the fields of a Claim up to its command, and what the command is made of."""

    id: UUID
    kind: str
    reason: str
    url: str
    origin: str
    headers: str
    timeout: int | None
    body: str
    size: int
    attempt: int
    max_attempts: int
    attempts_before: int
    lost: int
    user_id: int | None
    user_token_generation: int
    lateness: timedelta
    skip: str
    command_id: int
    command_token_generation: int
    signing_secret: str | None
    previous_signing_secret: str | None
    command_signature: str
    previous_signature: str | None


# How much of a row is its claim's own; the rest is its command's.
_OWN = _Row._fields.index("command_id")
_EVER = timedelta(days=100_000)
_NO_LIMIT = 1 << 40
_RECENT = timedelta(seconds=1)

# The database's clock, where no other one replaces it.
_NOW = "COALESCE(%(now)s::timestamptz, statement_timestamp())"

_OLDEST = """
SELECT id, next_attempt_at, octet_length(body) AS size, 0 AS place FROM deliveries_delivery
WHERE state = 'pending' AND next_attempt_at <= {now} AND next_attempt_at > {now} - %(no_later_than)s
  AND (lease IS NULL OR leased_until <= {now})
ORDER BY next_attempt_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# Each origin's by itself, along an index of its own: past the backlog of one there is a short way to the next.
_OLDEST_OF_EACH = """
SELECT oldest.*, wanted.place
FROM unnest(%(origins)b::text[], %(limits)b::int[]) WITH ORDINALITY AS wanted(origin, most, place), LATERAL (
    SELECT id, next_attempt_at, octet_length(body) AS size FROM deliveries_delivery
    WHERE state = 'pending' AND origin = wanted.origin AND next_attempt_at <= {now}
      AND next_attempt_at > {now} - %(no_later_than)s AND (lease IS NULL OR leased_until <= {now})
    ORDER BY next_attempt_at LIMIT wanted.most
    FOR UPDATE SKIP LOCKED
) oldest
LIMIT %(limit)s
"""

# It ends with the row that exceeds the budget of bytes, so it takes one at least.
# The commit of a claim does not wait for the disk: a crash of the database would only make it void.
_CLAIM = """
WITH due AS ({due}), sized AS (
    SELECT *, sum(size) OVER (ORDER BY place, next_attempt_at, id) - size AS bytes_before FROM due
), claimed AS (
    UPDATE deliveries_delivery d
    SET leased_until = {now} + %(lease_for)s, lease = %(lease)s,
        attempt_count = least(d.attempt_count + 1, {max_count})
    FROM sized WHERE d.id = sized.id AND sized.bytes_before < %(max_bytes)s
      AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
    RETURNING d.id, d.kind, d.reason, d.url, d.origin, d.headers, d.timeout, d.body, sized.size,
              d.attempt_count AS attempt, d.max_attempts, d.attempts_before,
              CASE WHEN d.attempt_count < 3 THEN 0
                  ELSE d.attempt_count - 1 - jsonb_array_length(d.attempts) END AS lost,
              sized.next_attempt_at, d.command_id, d.user_id, d.organization_id
)
SELECT claimed.id, claimed.kind, claimed.reason, claimed.url, claimed.origin, claimed.headers, claimed.timeout,
       claimed.body, claimed.size, claimed.attempt, claimed.max_attempts, claimed.attempts_before, claimed.lost,
       claimed.user_id, COALESCE(u.token_generation, 0) AS user_token_generation,
       {now} - claimed.next_attempt_at AS lateness, {reason} AS skip,
       claimed.command_id, COALESCE(c.token_generation, 0) AS command_token_generation, c.signing_secret,
       CASE WHEN c.previous_secret_expires_at > {now} THEN c.previous_signing_secret END AS previous_signing_secret,
       COALESCE(c.signature, '') AS command_signature,
       CASE WHEN c.previous_signature_expires_at > {now} THEN c.previous_signature END AS previous_signature
FROM claimed
{joins}ORDER BY claimed.next_attempt_at, claimed.id
"""
_PARTIES = sendable.joins_sql(
    organization_id="claimed.organization_id", command_id="claimed.command_id", user_id="claimed.user_id"
)
_REASON = sendable.reason_sql(user_id="claimed.user_id", url="claimed.url")
_CLAIM_OLDEST, _CLAIM_OF_EACH = (
    _CLAIM.replace("{due}", due).format(now=_NOW, joins=_PARTIES, reason=_REASON, max_count=MAX_COUNT)
    for due in (_OLDEST, _OLDEST_OF_EACH)
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


def claim(
    *,
    limit: int,
    lease: timedelta,
    of: Mapping[str, int] | None = None,
    no_later_than: timedelta | None = None,
    max_bytes: int = _NO_LIMIT,
) -> list[Claim]:
    """Claims up to `limit` due deliveries, the oldest, for this caller alone until the lease ends.

    `of` names the only origins to claim for, and how many of each; the limits then go by the order of the origins. With
    `no_later_than` only those that have been due for less long than that are claimed. The last of them is the one whose
    body exceeds `max_bytes` in all.
    """
    # Read before the rows are locked: the lease as this process sees it ends no later than the database's.
    held_since, token = time.monotonic(), uuid4()
    parameters = {
        "now": clock.replaced(),
        "limit": limit,
        "lease_for": lease,
        "lease": token,
        "no_later_than": no_later_than or _EVER,
        "max_bytes": max_bytes,
    }
    if of is None:
        rows = rows_as(_Row, _CLAIM_OLDEST, parameters)
    else:
        rows = rows_as(_Row, _CLAIM_OF_EACH, parameters | {"origins": list(of), "limits": list(of.values())})
    return [Claim._make((*row[:_OWN], _command(*row[_OWN:]), token, held_since)) for row in rows]


@lru_cache(maxsize=1024)
def _command(id_: int, token_generation: int, *texts: str | None) -> CommandFacts:
    """Returns the facts from the last columns of a claim's row, in their order."""
    secret, previous_secret, signature, previous_signature = texts
    secrets = [decrypt_if_possible(each) for each in (secret, previous_secret) if each]
    # During its overlap the previous signature is the one that receivers know.
    signatures = [decrypt_if_possible(each) for each in (previous_signature, signature) if each]
    is_readable = not any(isinstance(each, EncryptedText) for each in (*secrets, *signatures))
    sent, following = (*signatures, "", "")[:2]
    return CommandFacts(id_, token_generation, tuple(secrets), sent, following, is_readable)


def count_due(*, most: int, until: datetime | None = None) -> int:
    """Returns how many that became due in the last second may be claimed, up to `most`; 1 if only older ones may.

    With `until`, a time in the future, those that will be due by then count too.
    """
    parameters = {"now": clock.replaced(), "until": until, "recent": _RECENT, "most": most}
    return int(rows_of(_COUNT_FREE, parameters)[0][0])


def waiting_origins(*, after: str = "", limit: int) -> list[str]:
    """Returns up to `limit` origins that something is still to be sent to, now or later, in order, from `after` on."""
    return [origin for (origin,) in rows_of(_ORIGINS, {"after": after, "limit": limit})]
