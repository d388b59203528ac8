"""Removes old changes from the beginning of their chains. The head of a chain remembers what was removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.db import transaction

from audit.chain import read_head
from audit.models import Chain, Change
from commands_platform.lib import clock
from commands_platform.lib.database.identifiers import first_ledger_id_at

_MAX_REMOVED_AT_ONCE = 2_000


def remove_old_changes() -> int:
    """Removes the oldest changes that are older than AUDIT_KEEP, a portion at a time. Returns their number."""
    if not settings.AUDIT_KEEP:
        return 0
    kept_from = clock.now() - settings.AUDIT_KEEP
    old = Change.objects.filter(pk__lt=first_ledger_id_at(kept_from), position__isnull=False).order_by("pk")
    organizations = dict.fromkeys(old.values_list("organization_id", flat=True)[:_MAX_REMOVED_AT_ONCE])
    return sum(_remove_from(organization_id, kept_from) for organization_id in organizations)


@transaction.atomic
def _remove_from(organization_id: int, kept_from: datetime) -> int:
    """Removes the first changes of a chain up to the first that is to be kept."""
    chain = Chain.objects.select_for_update(skip_locked=True).filter(pk=organization_id).first()
    head = read_head(chain) if chain is not None else None
    if head is None:
        return 0
    oldest = Change.objects.filter(organization=organization_id, position__gt=head.removed_position)
    removed = 0
    for change in oldest.order_by("position").only("position", "hash", "recorded_at")[:_MAX_REMOVED_AT_ONCE]:
        # A gap is for verify_audit to find.
        if change.recorded_at >= kept_from or change.position != head.removed_position + 1:
            break
        head = replace(head, removed_position=change.position, removed_hash=change.hash)
        removed += 1
    if removed:
        Change.objects.filter(organization=organization_id, position__lte=head.removed_position).delete()
        Chain.objects.filter(pk=organization_id).update(head=head.to_text())
    return removed
