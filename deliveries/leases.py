"""Makes leases. A lease names the process that holds it, so that others can end it when that process is lost.

The first half of a lease is the first half of the holder's id. This needs no column and no index, and claims stay
cheap. The last digit says whether the request of a suspect has begun (see `Claim.is_suspect`).
"""

from __future__ import annotations

from uuid import UUID, uuid4

_LOW_HALF = (1 << 64) - 1
_LAST_DIGIT = 0xF


def new_lease(holder: UUID | None) -> UUID:
    """Returns a lease for one claim. Without a holder, it ends only when its time is over."""
    lease = uuid4().int & ~_LAST_DIGIT
    return UUID(int=lease if holder is None else holder.int & ~_LOW_HALF | lease & _LOW_HALF)


def begun(lease: UUID) -> UUID:
    """Returns the lease of the same claim after its request has begun."""
    return UUID(int=lease.int | _LAST_DIGIT)


def leases_of(holder: UUID) -> tuple[UUID, UUID]:
    """Returns the lowest and the highest lease that the holder can have."""
    return UUID(int=holder.int & ~_LOW_HALF), UUID(int=holder.int | _LOW_HALF)
