"""The queue side of the ledger, in SQL: claims due deliveries under a lease.

When a lease ends, its row is free again, so the rows of a sender that dies return to the queue by themselves. Other
deliverers end the leases of a sender that is lost (see `takeover`). Later writes name the lease, and a sender that has
lost it writes nothing. Claiming and releasing change no indexed column, which makes them cheap (PostgreSQL's heap-only
tuples).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from commands_platform.lib import clock
from commands_platform.lib.clock import NOW_SQL
from commands_platform.lib.database.availability import retry_if_moved
from commands_platform.lib.database.statements import rows_as, rows_of
from commands_platform.lib.encryption import EncryptedText, decrypt_if_possible
from deliveries import sendable
from deliveries.bodies import Parties, parties_of
from deliveries.floor import FLOOR_SQL
from deliveries.lanes import Lane
from deliveries.leases import new_lease
from deliveries.models import MAX_SMALLINT


class CommandFacts(NamedTuple):
    """The facts about a command that its callbacks need."""

    id: int
    token_generation: int
    signing_secrets: tuple[str, ...]
    signature: str
    next_signature: str
    """The static signature that will replace the current one. It is empty unless a rotation is under way."""
    is_readable: bool
    """False if its secrets cannot be decrypted."""


class Claim(NamedTuple):
    """One delivery that this process holds until its lease ends, with all that is needed to send it.

    `size` is the size of its stored body in bytes. `lost` counts earlier claims without an outcome: the delivery may
    have killed their senders.
    """

    id: UUID
    kind: str
    reason: str
    url: str
    origin: str
    headers: str
    timeout: int | None
    source_uuid: str
    due_at: datetime
    schedule_name: str | None
    body: str
    size: int
    correlation_id: str | None
    attempt: int
    max_attempts: int
    attempts_before: int
    lost: int
    organization_id: int
    user_id: int | None
    user_token_generation: int
    lateness: timedelta
    skip: str
    """The Reason why it cannot be sent now, or empty if it can."""
    command: CommandFacts
    parties: Parties
    lane: Lane
    lease: UUID
    held_since: float

    @property
    def is_suspect(self) -> bool:
        """Returns whether the delivery may have killed its senders. It may also have been lost together with others."""
        return self.lost > 0

    @property
    def is_large(self) -> bool:
        """Returns whether its body counts against the limit for the bytes of large bodies in flight."""
        return self.size > _LARGE_BODY


class _Row(NamedTuple):
    """A row of the claim's statement: a Claim's fields up to its command, then the columns of command and parties."""

    id: UUID
    kind: str
    reason: str
    url: str
    origin: str
    headers: str
    timeout: int | None
    source_uuid: str
    due_at: datetime
    schedule_name: str | None
    body: str
    size: int
    correlation_id: str | None
    attempt: int
    max_attempts: int
    attempts_before: int
    lost: int
    organization_id: int
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
    organization_uuid: str
    command_uuid: str
    command_name: str
    user_uuid: str | None
    user_full_name: str | None


# The columns before the first of these are the claim's, the next are its command's, and the rest are its parties'.
_COMMAND, _PARTIES = _Row._fields.index("command_id"), _Row._fields.index("organization_uuid")
_EVER = timedelta(days=100_000)
_NO_LIMIT = 1 << 40
_LARGE_BODY = 16 * 1024
_RECENT = timedelta(seconds=1)

_MAY_BE_CLAIMED = """next_attempt_at <= {now} AND next_attempt_at > GREATEST({now} - %(no_later_than)s, {floor})
  AND (lease IS NULL OR leased_until <= {now})
  AND (%(with_suspects)s OR attempt_count = 0 OR attempt_count <= regexp_count(attempts, '\\n'))"""

_OLDEST = f"""
SELECT ctid AS row, id, next_attempt_at, octet_length(body) AS size, 0 AS place FROM deliveries_queue
WHERE {_MAY_BE_CLAIMED}
ORDER BY next_attempt_at LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# Reads each lane by itself, along the index of lanes, so a backlog of one does not slow down the others.
_OLDEST_OF_EACH = f"""
SELECT oldest.*, wanted.place
FROM unnest(%(organizations)b::bigint[], %(origins)b::text[], %(limits)b::int[])
    WITH ORDINALITY AS wanted(organization_id, origin, most, place),
LATERAL (
    SELECT ctid AS row, id, next_attempt_at, octet_length(body) AS size FROM deliveries_queue
    WHERE organization_id = wanted.organization_id AND origin = wanted.origin AND {_MAY_BE_CLAIMED}
    ORDER BY next_attempt_at LIMIT wanted.most
    FOR UPDATE SKIP LOCKED
) oldest
LIMIT %(limit)s
"""

# A claim ends with the row that exceeds the budget of bytes, so it takes at least one. A row that has just been locked
# is updated by its place. If somebody changed it after this statement began, its new version has a place that the
# statement cannot see. Then it is left to a later look.
# Its commit does not wait for the disk, because a crash of the database would only undo the claim.
_CLAIM = """
WITH due AS ({due}), sized AS (
    SELECT *, sum(size) OVER (ORDER BY place, next_attempt_at, id) - size AS bytes_before FROM due
), claimed AS (
    UPDATE deliveries_queue d
    SET leased_until = {now} + %(lease_for)s, lease = %(lease)s,
        attempt_count = least(d.attempt_count + 1, {max_count})
    FROM sized WHERE d.ctid = sized.row AND sized.bytes_before < %(max_bytes)s
      AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
    RETURNING d.id, d.kind, d.reason, d.url, d.origin, d.headers, d.timeout, d.source_uuid, d.due_at, d.schedule_name,
              d.body, sized.size, d.correlation_id, d.attempt_count AS attempt, d.max_attempts, d.attempts_before,
              CASE WHEN d.attempt_count < 2 THEN 0
                  ELSE d.attempt_count - 1 - regexp_count(d.attempts, '\\n') END AS lost,
              sized.next_attempt_at, d.command_id, d.user_id, d.organization_id
)
SELECT claimed.id, claimed.kind, claimed.reason, claimed.url, claimed.origin, claimed.headers, claimed.timeout,
       claimed.source_uuid::text, claimed.due_at, claimed.schedule_name, claimed.body, claimed.size,
       claimed.correlation_id, claimed.attempt, claimed.max_attempts, claimed.attempts_before, claimed.lost,
       claimed.organization_id, claimed.user_id, COALESCE(u.token_generation, 0) AS user_token_generation,
       {now} - claimed.next_attempt_at AS lateness, {reason} AS skip,
       claimed.command_id, COALESCE(c.token_generation, 0) AS command_token_generation, c.signing_secret,
       CASE WHEN c.previous_secret_expires_at > {now} THEN c.previous_signing_secret END AS previous_signing_secret,
       COALESCE(c.signature, '') AS command_signature,
       CASE WHEN c.previous_signature_expires_at > {now} THEN c.previous_signature END AS previous_signature,
       o.uuid::text AS organization_uuid, c.uuid::text AS command_uuid, c.name AS command_name,
       u.uuid::text AS user_uuid, u.full_name AS user_full_name
FROM claimed
{joins}ORDER BY claimed.next_attempt_at, claimed.id
"""
_PARTIES_OF_CLAIMED = sendable.joins_sql(
    organization_id="claimed.organization_id", command_id="claimed.command_id", user_id="claimed.user_id"
)
_REASON_OF_CLAIMED = sendable.reason_sql(
    user_id="claimed.user_id", url="claimed.url", scope=sendable.scope_sql(kind="claimed.kind")
)
_CLAIM_OLDEST, _CLAIM_OF_EACH = (
    _CLAIM.replace("{due}", due).format(
        now=NOW_SQL, floor=FLOOR_SQL, joins=_PARTIES_OF_CLAIMED, reason=_REASON_OF_CLAIMED, max_count=MAX_SMALLINT
    )
    for due in (_OLDEST, _OLDEST_OF_EACH)
)

# However many organizations there are, this many lanes of each are read.
_MIN_OF_EACH = 4
# Takes one probe of the index for each organization and each lane, however much is due. An organization without a lane
# after the one that was read last has a row too.
_LANES = f"""
WITH RECURSIVE organizations AS (
    SELECT %(after)s::bigint AS id, 0 AS number
    UNION ALL
    SELECT next.id, organizations.number + 1
    FROM organizations, LATERAL (
        SELECT d.organization_id AS id FROM deliveries_queue d
        WHERE d.organization_id > organizations.id AND d.next_attempt_at > {FLOOR_SQL}
        ORDER BY d.organization_id, d.origin, d.next_attempt_at LIMIT 1
    ) next
    WHERE organizations.number < %(limit)s
), waiting AS (
    SELECT o.id, COALESCE(read.origin, '') AS after, greatest({_MIN_OF_EACH}, %(limit)s / count(*) OVER ()) AS most
    FROM organizations o
    LEFT JOIN unnest(%(organizations)b::bigint[], %(origins)b::text[]) AS read(organization_id, origin)
        ON read.organization_id = o.id
    WHERE o.number > 0
)
SELECT waiting.id, lane.origin, lane.next_attempt_at <= {NOW_SQL} AS is_due
FROM waiting LEFT JOIN LATERAL (
    WITH RECURSIVE found AS (
        SELECT waiting.after AS origin, NULL::timestamptz AS next_attempt_at, 0 AS number
        UNION ALL
        SELECT next.origin, next.next_attempt_at, found.number + 1
        FROM found, LATERAL (
            SELECT d.origin, d.next_attempt_at FROM deliveries_queue d
            WHERE d.organization_id = waiting.id AND d.origin > found.origin AND d.next_attempt_at > {FLOOR_SQL}
            ORDER BY d.organization_id, d.origin, d.next_attempt_at LIMIT 1
        ) next
        WHERE found.number < waiting.most
    )
    SELECT origin, next_attempt_at FROM found WHERE number > 0
) lane ON true
"""

_FREE = f"""
SELECT FROM deliveries_queue
WHERE next_attempt_at <= COALESCE(%(until)s::timestamptz, {NOW_SQL}) AND next_attempt_at > {FLOOR_SQL}
  AND (lease IS NULL OR leased_until <= {NOW_SQL})
"""
_COUNT_FREE = f"""
SELECT greatest(
    (SELECT count(*) FROM ({_FREE} AND next_attempt_at > COALESCE(%(until)s::timestamptz, {NOW_SQL}) - %(recent)s
                           LIMIT %(most)s) recent),
    (SELECT count(*) FROM ({_FREE} LIMIT 1) oldest)
)
"""


def claim(
    *,
    limit: int,
    lease: timedelta,
    holder: UUID | None = None,
    of: Mapping[Lane, int] | None = None,
    no_later_than: timedelta | None = None,
    max_bytes: int = _NO_LIMIT,
    with_suspects: bool = True,
) -> list[Claim]:
    """Claims up to `limit` of the oldest due deliveries. They belong to this caller alone until the lease ends.

    `holder` is the id of this process, by which others end its leases when it is lost.
    `of` restricts the claim to these lanes, with a maximum for each. Limits then apply in the order of the lanes.
    `no_later_than` restricts it to deliveries that have been due for less than that time. The claim ends with the
    delivery whose body makes the total exceed `max_bytes`. `with_suspects` says whether deliveries that may have killed
    their senders are claimed, too.
    """
    # Read before the rows are locked, so that for this process the lease ends no later than for the database.
    held_since, token = time.monotonic(), new_lease(holder)
    parameters: dict[str, object] = {
        "now": clock.replaced(),
        "limit": limit,
        "lease_for": lease,
        "lease": token,
        "no_later_than": no_later_than or _EVER,
        "max_bytes": max_bytes,
        "with_suspects": with_suspects,
    }
    if of is None:
        statement = _CLAIM_OLDEST
    else:
        parameters["organizations"] = [lane.organization_id for lane in of]
        parameters["origins"] = [lane.origin for lane in of]
        parameters["limits"] = list(of.values())
        statement = _CLAIM_OF_EACH
    rows = retry_if_moved(lambda: rows_as(_Row, statement, parameters))
    return [
        Claim._make(
            (
                *row[:_COMMAND],
                _command(*row[_COMMAND:_PARTIES]),
                parties_of(*row[_PARTIES:]),
                _lane(row.organization_id, row.origin),
                token,
                held_since,
            )
        )
        for row in rows
    ]


_lane = lru_cache(maxsize=4096)(Lane)


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
    """Returns how many deliveries of the last second can be claimed, up to `most`, or 1 if only older ones can.

    With `until`, a time in the future, deliveries that will be due by then count too.
    """
    parameters = {"now": clock.replaced(), "until": until, "recent": _RECENT, "most": most}
    return int(rows_of(_COUNT_FREE, parameters)[0][0])


class WaitingLanes(NamedTuple):
    """The lanes with pending deliveries of some organizations.

    `due` has those lanes in which a delivery is due. `unread` has the organizations that may have more lanes, with the
    origin after which those begin.
    """

    organizations: list[int]
    lanes: list[Lane]
    due: list[Lane]
    unread: dict[int, str]


def waiting_lanes(
    *, limit: int, after_organization: int = 0, after_origins: Mapping[int, str] | None = None
) -> WaitingLanes:
    """Returns lanes of the first `limit` organizations, the same number of each, and about `limit` in all.

    It reads organizations after `after_organization`, and of some of them only lanes after an origin.
    """
    after_origins = after_origins or {}
    rows = rows_of(
        _LANES,
        {
            "now": clock.replaced(),
            "limit": limit,
            "after": after_organization,
            "organizations": list(after_origins),
            "origins": list(after_origins.values()),
        },
    )
    of_each: dict[int, list[Lane]] = {}
    due = []
    for organization_id, origin, is_due in rows:
        lanes = of_each.setdefault(organization_id, [])
        if origin is not None:
            lanes.append(Lane(organization_id, origin))
            if is_due:
                due.append(lanes[-1])
    most = max(_MIN_OF_EACH, limit // max(1, len(of_each)))
    return WaitingLanes(
        organizations=sorted(of_each),
        lanes=[lane for lanes in of_each.values() for lane in lanes],
        due=due,
        unread={organization_id: lanes[-1].origin for organization_id, lanes in of_each.items() if len(lanes) >= most},
    )
