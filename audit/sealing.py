"""Seals recorded changes into the chains of their organizations, in the background.

A change gets its place in the chain after it was committed. So those who make changes never wait for each other, and a
transaction that is rolled back leaves no gap.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby

import orjson
import structlog
from django.db import transaction

from audit.chain import Head, hash_of, read_head
from audit.models import Chain, Change
from commands_platform.lib.database.statements import execute

logger = structlog.get_logger(__name__)

_MAX_CHANGES_AT_ONCE = 500
_MAX_SECONDS_AT_ONCE = 0.2

_SEAL = """
UPDATE audit_change c SET position = s.position, hash = s.hash
FROM json_to_recordset(%(sealed)s::json) AS s(id uuid, position bigint, hash text)
WHERE c.id = s.id
"""


def seal_changes() -> int:
    """Seals changes for a fraction of a second. Returns the number of changes sealed."""
    count = 0
    ends_at = time.monotonic() + _MAX_SECONDS_AT_ONCE
    while sealed := _process_sealer().seal_portion():
        count += sealed
        if time.monotonic() >= ends_at:
            break
    return count


@dataclass(slots=True)
class Sealer:
    """The sealing of one process. It remembers whose turn it was, so that organizations take turns."""

    _after: int = 0

    def seal_portion(self) -> int:
        """Seals the next changes of one or several organizations. Returns the number of changes sealed."""
        unsealed = Change.objects.filter(position=None, organization_id__gt=self._after)
        found = list(unsealed.order_by("organization_id", "id")[:_MAX_CHANGES_AT_ONCE])
        if not found and self._after:
            self._after = 0
            return self.seal_portion()
        count = 0
        for organization_id, changes in groupby(found, key=lambda change: change.organization_id):
            count += _seal(organization_id, list(changes))
            self._after = organization_id
        return count


@transaction.atomic
def _seal(organization_id: int, changes: Sequence[Change]) -> int:
    """Appends the changes to the chain. Returns 0 if somebody else has it in hand, or if it cannot be continued."""
    head = _locked_head(organization_id)
    if head is None:
        return 0
    # Another process may have sealed some of them since they were found.
    unsealed = Change.objects.filter(pk__in=[each.pk for each in changes], position=None)
    unsealed_ids = set(unsealed.values_list("pk", flat=True))
    sealed = []
    for change in changes:
        if change.pk in unsealed_ids:
            position = head.position + 1
            head = replace(head, position=position, hash=hash_of(change, position=position, previous=head.hash))
            sealed.append({"id": change.pk, "position": position, "hash": head.hash})
    if sealed:
        execute(_SEAL, {"sealed": orjson.dumps(sealed).decode()})
        Chain.objects.filter(pk=organization_id).update(head=head.to_text())
    return len(sealed)


def _locked_head(organization_id: int) -> Head | None:
    chains = Chain.objects.filter(pk=organization_id)
    chain = chains.select_for_update(skip_locked=True).first()
    if chain is not None:
        head = read_head(chain)
        if head is None:
            logger.error("audit_chain_unreadable", organization=organization_id)
        return head
    if chains.exists():
        return None
    if Change.objects.filter(organization=organization_id, position__isnull=False).exists():
        # Somebody has removed the head. A new one would hide that.
        logger.error("audit_chain_without_head", organization=organization_id)
        return None
    head = Head(organization_id)
    Chain.objects.bulk_create([Chain(organization_id=organization_id, head=head.to_text())], ignore_conflicts=True)
    locked = chains.select_for_update(skip_locked=True).first()
    return read_head(locked) if locked is not None else None


@cache
def _process_sealer() -> Sealer:
    return Sealer()
