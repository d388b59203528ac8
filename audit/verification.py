"""Verifies the chains of changes: finds rows that were changed, removed or inserted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import transaction

from audit.chain import Head, hash_of, read_head
from audit.models import Chain, Change

_CHANGES_READ_AT_ONCE = 1_000


@dataclass(slots=True)
class VerifiedChain:
    """The result for one organization."""

    organization: str
    count: int = 0
    head: Head | None = None
    problems: list[str] = field(default_factory=list)


def verify_chains(organization: str | None = None) -> Iterator[VerifiedChain]:
    """Verifies the chain of each organization, or of the one with this name.

    A chain is not sealed or shortened while it is read.
    """
    names = ("organization_id", "organization__name")
    chains = Chain.objects.values_list(*names)
    # A chain may have lost its head.
    sealed = Change.objects.filter(position__isnull=False).order_by().values_list(*names)
    if organization is not None:
        chains = chains.filter(organization__name=organization)
        sealed = sealed.filter(organization__name=organization)
    for organization_id, name in sorted({*chains, *sealed.distinct()}):
        yield _verify(organization_id, name)


@transaction.atomic
def _verify(organization_id: int, name: str) -> VerifiedChain:
    result = VerifiedChain(name)
    chain = Chain.objects.select_for_update().filter(pk=organization_id).first()
    head = result.head = read_head(chain) if chain is not None else None
    if chain is None:
        result.problems.append("The end of the chain has been removed.")
    elif head is None:
        result.problems.append("The end of the chain was not written by this server, or SECRETS_KEYS lacks its key.")
    position = head.removed_position if head is not None else 0
    previous = head.removed_hash if head is not None else ""
    for change in _in_order(organization_id):
        found = change.position or 0
        if found <= position:
            result.problems.append(f"Change {found} ({change.id}) has been inserted.")
            continue
        if found > position + 1:
            result.problems.append(f"{_span(position + 1, found - 1)} been removed.")
            # The hash before it is unknown, so it cannot be checked.
        elif change.hash != hash_of(change, position=found, previous=previous):
            message = f"Change {found} ({change.id}) has been changed, or does not follow the one before it."
            result.problems.append(message)
        position, previous = found, change.hash
        result.count += 1
    if head is not None:
        result.problems += _problems_at_end(head, position, previous)
    return result


def _problems_at_end(head: Head, position: int, last_hash: str) -> Iterator[str]:
    if position < head.position:
        yield f"{_span(position + 1, head.position)} been removed."
    elif position > head.position:
        yield f"{_span(head.position + 1, position)} been inserted."
    elif last_hash != head.hash:
        yield f"The last change ({position}) has been changed."


def _in_order(organization_id: int) -> Iterator[Change]:
    rows = Change.objects.filter(organization=organization_id, position__isnull=False).order_by("position")
    after = 0
    # A change that was inserted may have a position below 1.
    while portion := list(rows.filter(position__gt=after)[:_CHANGES_READ_AT_ONCE]):
        yield from portion
        after = portion[-1].position or 0


def _span(first: int, last: int) -> str:
    return f"Change {first} has" if first == last else f"Changes {first} to {last} have"
