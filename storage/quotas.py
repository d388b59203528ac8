"""The quota on stored bytes."""

from __future__ import annotations

from collections.abc import Mapping

from commands_platform.lib.database.statements import rows_of
from organizations import quotas
from organizations.quotas import Quota
from storage.models import Bucket

# PostgreSQL knows the sizes without reading the values. Items that are about to be replaced do not count.
_USED = """
SELECT COALESCE(sum(octet_length(key) + octet_length(value)), 0)::bigint FROM storage_item
WHERE organization_id = %(organization)s AND NOT (
    command_id IS NOT DISTINCT FROM %(command)s::bigint AND user_id IS NOT DISTINCT FROM %(user)s::bigint
    AND namespace = %(namespace)s AND key = ANY(%(keys)s)
)
"""


def use_bytes(bucket: Bucket, texts: Mapping[str, str]) -> None:
    """Raises QuotaExceededError if the organization has no room for these keys and values."""
    if quotas.limit_of(bucket.organization, Quota.STORED_BYTES):
        parameters = {**bucket.place(), "keys": list(texts)}
        size = sum(len(key.encode()) + len(text.encode()) for key, text in texts.items())
        quotas.use(bucket.organization, Quota.STORED_BYTES, size, count=lambda _: rows_of(_USED, parameters)[0][0])
