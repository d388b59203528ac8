"""Reads and writes items for callers.

Most functions run a single SQL statement. All of them use the database's `now()`, which does not change inside a
transaction. So an item that one statement finds alive has not expired for the next statement either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db import connection, transaction

from auth_tokens.models import CallerContext
from commands_platform.lib.database.statements import rows_as, rows_of
from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.json import strict_json
from storage.errors import MissingContextError, VersionConflictError
from storage.models import Bucket, Item
from storage.quotas import use_bytes

MAX_VALUE_BYTES = 256 * 1024
# All values of an answer are in memory at once, in several copies.
MAX_ANSWER_BYTES = 8 * 1024 * 1024

# Each kind of bucket has its own condition: NULL = NULL is not true, and IS NOT DISTINCT FROM uses no index.
_OWNERS = {
    (False, False): "command_id IS NULL AND user_id IS NULL",
    (True, False): "command_id = %(command)s AND user_id IS NULL",
    (True, True): "command_id = %(command)s AND user_id = %(user)s",
}
_IN_BUCKET = "organization_id = %(organization)s AND {owner} AND namespace = %(namespace)s"
_ALIVE = "(expires_at IS NULL OR expires_at > now())"

_READ = f"SELECT value AS text, version FROM storage_item WHERE {_IN_BUCKET} AND key = %(key)s AND {_ALIVE}"  # noqa: S608

# PostgreSQL knows the sizes without reading the values. Above the limit it reads no value at all.
_READ_MANY = f"""
SELECT key, CASE WHEN sum(octet_length(value)) OVER () <= %(limit)s THEN value END AS text
FROM storage_item WHERE {_IN_BUCKET} AND key = ANY(%(keys)s) AND {_ALIVE}
"""  # noqa: S608

_LOCK_ITEM = f"SELECT id, value, version FROM storage_item WHERE {_IN_BUCKET} AND key = %(key)s AND {_ALIVE} FOR UPDATE"  # noqa: S608

# Here and in _DELETE, rows are locked in the order of their keys, so that two writers of many items cannot deadlock. An
# expired row is overwritten like an absent one. With `only_new`, a row that has not expired is locked and not changed.
_WRITE = """
INSERT INTO storage_item AS item (
    organization_id, command_id, user_id, namespace, key, value, version, expires_at, created_at, updated_at
)
SELECT %(organization)s::bigint, %(command)s::bigint, %(user)s::bigint, %(namespace)s, v.key, v.value, 1,
       now() + %(ttl)s::interval, now(), now()
FROM (VALUES {rows}) AS v(key, value)
ORDER BY v.key COLLATE "C"
ON CONFLICT (organization_id, command_id, user_id, namespace, key) DO UPDATE
SET value = EXCLUDED.value, expires_at = EXCLUDED.expires_at, updated_at = EXCLUDED.updated_at,
    version = CASE WHEN item.expires_at <= now() THEN 1 ELSE item.version + 1 END,
    created_at = CASE WHEN item.expires_at <= now() THEN now() ELSE item.created_at END
WHERE item.expires_at <= now() OR NOT %(only_new)s
RETURNING version
"""

_REPLACE = f"""
UPDATE storage_item
SET value = %(value)s, version = version + 1, expires_at = now() + %(ttl)s::interval, updated_at = now()
WHERE {_IN_BUCKET} AND key = %(key)s AND version = %(if_version)s AND {_ALIVE}
RETURNING version
"""  # noqa: S608

_UPDATE = """
UPDATE storage_item SET value = %(value)s, version = version + 1, updated_at = now() WHERE id = %(id)s
RETURNING version
"""

_DELETE = f"""
WITH doomed AS (
    SELECT id FROM storage_item WHERE {_IN_BUCKET} AND key = ANY(%(keys)s) ORDER BY key FOR UPDATE
)
DELETE FROM storage_item USING doomed WHERE storage_item.id = doomed.id
"""  # noqa: S608

_DELETE_VERSION = f"""
DELETE FROM storage_item WHERE {_IN_BUCKET} AND key = %(key)s AND version = %(if_version)s AND {_ALIVE}
"""  # noqa: S608


class StoredValue(NamedTuple):
    """The JSON text of a value, as it is stored, and its version."""

    text: str
    version: int


class _Found(NamedTuple):
    """One of several items. All texts are None if they are too large in total."""

    key: str
    text: str | None


class _Locked(NamedTuple):
    """An item that nobody else can write until the transaction ends."""

    id: int
    value: str
    version: int


def find_bucket(*, context: CallerContext, namespace: str = "") -> Bucket:
    """Returns the bucket of the token's command and user. Without a token, it belongs to the key's organization.

    Raises MissingContextError if there is neither a valid token nor a namespace, and MissingTokenError for a void token
    together with a namespace.
    """
    if not namespace and not context.has_token:
        raise MissingContextError
    token = context.optional_token()
    if token is None:
        return Bucket(context.organization, namespace=namespace)
    user_id = token.user.pk if token.user else None
    return Bucket(token.organization, token.command.pk, user_id, namespace)


def get_item(*, bucket: Bucket, key: str) -> StoredValue | None:
    """Returns the item's value, or None if there is no such item."""
    rows = rows_as(StoredValue, *_bound(_READ, bucket, {"key": key}))
    return rows[0] if rows else None


def lock_item(*, bucket: Bucket, key: str) -> StoredValue | None:
    """Returns the item like `get_item`, and keeps others from writing it until the transaction ends."""
    locked = _lock(bucket, key)
    return StoredValue(locked[0].value, locked[0].version) if locked else None


def has_item(*, bucket: Bucket, key: str) -> bool:
    """Returns whether there is such an item."""
    return Item.objects.in_bucket(bucket).alive().filter(key=key).exists()


def list_items(*, bucket: Bucket, prefix: str = "", after: str = "", limit: int) -> tuple[list[Item], bool]:
    """Returns up to `limit` items without their values, ordered by key, and whether there are more.

    Their keys begin with `prefix` and come after `after`.
    """
    items = Item.objects.in_bucket(bucket).alive().filter(key__startswith=prefix, key__gt=after)
    rows = list(items.defer("value").order_by("key")[: limit + 1])
    return rows[:limit], len(rows) > limit


def get_items(*, bucket: Bucket, keys: Sequence[str]) -> dict[str, str]:
    """Returns the JSON texts of the values that exist, in the order of `keys`.

    Raises InvalidInputError if they have more than MAX_ANSWER_BYTES bytes in total.
    """
    rows = rows_as(_Found, *_bound(_READ_MANY, bucket, {"keys": list(keys), "limit": MAX_ANSWER_BYTES}))
    texts = {row.key: row.text for row in rows}
    found = {key: text for key in keys if (text := texts.get(key)) is not None}
    if len(found) < len(texts):
        message = f"The values have more than {MAX_ANSWER_BYTES} bytes in total. Ask for fewer keys at a time."
        raise InvalidInputError(errors={"keys": [message]})
    return found


def set_item(
    *, bucket: Bucket, key: str, value: object, ttl: timedelta | None = None, if_version: int | None = None
) -> StoredValue:
    """Stores the value. It expires after `ttl`, or never, whatever the item's time to live was before.

    With `if_version` the item must have that version; 0 means that it must not exist. Raises VersionConflictError, and
    InvalidInputError for a value that is too large.
    """
    text = _json_text(value, field="value")
    if if_version:
        use_bytes(bucket, {key: text})
        versions = _rows(_REPLACE, bucket, key=key, value=text, ttl=ttl, if_version=if_version)
    else:
        versions = _write(bucket, {key: text}, ttl=ttl, only_new=if_version == 0)
    if not versions:
        raise VersionConflictError
    return StoredValue(text, versions[0][0])


def set_items(*, bucket: Bucket, items: Mapping[str, object], ttl: timedelta | None = None) -> dict[str, str]:
    """Stores all the values or none, and returns their JSON texts.

    Raises InvalidInputError for a value that is too large.
    """
    texts = {key: _json_text(value, field="items") for key, value in items.items()}
    _write(bucket, texts, ttl=ttl)
    return texts


@transaction.atomic
def increment_item(*, bucket: Bucket, key: str, amount: float = 1, ttl: timedelta | None = None) -> StoredValue:
    """Adds to a number. An item that does not exist counts as 0. Integers stay integers, of 64 bits at most.

    `ttl` applies only to a new item. An item that exists keeps its time to live, so that a counter for a period ends
    with the period. Raises InvalidInputError if the item is not a number, or if the sum is too large.
    """
    locked = _lock(bucket, key)
    if not locked:
        text = _sum_text(0, amount)
        versions = _write(bucket, {key: text}, ttl=ttl, only_new=True)
        if versions:
            return StoredValue(text, versions[0][0])
        # Somebody else has created it in the meantime. The attempt to write has locked it, so it cannot go away.
        locked = _lock(bucket, key)
    id_, current, _ = locked[0]
    text = _sum_text(orjson.loads(current), amount)
    versions = _rows(_UPDATE, bucket, id=id_, value=text)
    return StoredValue(text, versions[0][0])


def delete_item(*, bucket: Bucket, key: str, if_version: int | None = None) -> None:
    """Removes the item, if there is one. With `if_version`, raises VersionConflictError if it has another version."""
    if if_version is None:
        delete_items(bucket=bucket, keys=[key])
    elif not _execute(_DELETE_VERSION, bucket, key=key, if_version=if_version):
        raise VersionConflictError


def delete_items(*, bucket: Bucket, keys: Iterable[str]) -> None:
    """Removes all of these items that exist, in one transaction."""
    _execute(_DELETE, bucket, keys=list(keys))


def _json_text(value: object, *, field: str) -> str:
    text = strict_json.dumps(value)
    if len(text) > MAX_VALUE_BYTES:
        message = f"A value may have {MAX_VALUE_BYTES} bytes of JSON at most; this one has {len(text)}."
        raise InvalidInputError(errors={field: [message]})
    try:
        strict_json.refuse_deep(value, text, max_depth=settings.MAX_JSON_DEPTH)
    except strict_json.NestedTooDeeplyError as error:
        raise InvalidInputError(errors={field: [f"{error.reason}."]}) from error
    return text.decode()


def _sum_text(current: object, amount: float) -> str:
    if isinstance(current, bool) or not isinstance(current, int | float):
        raise InvalidInputError(errors={"key": ["The item is not a number."]})
    total = current + amount
    try:
        if math.isfinite(total):
            return strict_json.dumps(total).decode()
    except TypeError:
        # An integer beyond 64 bits.
        pass
    raise InvalidInputError(errors={"amount": ["The sum is beyond 64 bits."]})


def _write(
    bucket: Bucket, texts: Mapping[str, str], *, ttl: timedelta | None, only_new: bool = False
) -> list[tuple[Any, ...]]:
    """Writes the values. Returns the new versions, in the order of the keys. Raises QuotaExceededError."""
    use_bytes(bucket, texts)
    # Not as an array, because quoting a mebibyte of values inside one takes a third of a second of CPU time.
    rows = ", ".join(f"(%(key{number})s, %(value{number})s)" for number in range(len(texts)))
    values = {f"key{number}": key for number, key in enumerate(texts)}
    values |= {f"value{number}": text for number, text in enumerate(texts.values())}
    return _rows(_WRITE.replace("{rows}", rows), bucket, ttl=ttl, only_new=only_new, **values)


def _lock(bucket: Bucket, key: str) -> list[_Locked]:
    """Locks the item until the transaction ends. Returns an empty list if there is no such item."""
    return rows_as(_Locked, *_bound(_LOCK_ITEM, bucket, {"key": key}))


def _rows(statement: str, bucket: Bucket, **values: object) -> list[tuple[Any, ...]]:
    return rows_of(*_bound(statement, bucket, values))


def _execute(statement: str, bucket: Bucket, **values: object) -> int:
    with connection.cursor() as cursor:
        cursor.execute(*_bound(statement, bucket, values))
        count: int = cursor.rowcount
        return count


def _bound(statement: str, bucket: Bucket, values: Mapping[str, object]) -> tuple[str, dict[str, Any]]:
    owner = _OWNERS[bucket.command_id is not None, bucket.user_id is not None]
    return statement.format(owner=owner), {**bucket.place(), **values}
