"""Decides by how much the slots of a schedule with a `spread` are later. Pure functions."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

# One day, in seconds.
MAX_SPREAD = 86_400


def delay_of(seed: str, spread: int, gap: int | None) -> int:
    """Returns by how many seconds a slot is later: the schedule's share of `spread`, or of `gap` if that is shorter.

    `gap` is the number of seconds to the next time of the rule, None if none follows. The result is always less.
    Callers can rely on it, so it must never change.
    """
    limit = spread if gap is None else min(spread, gap)
    return limit * _share_of(seed) >> 64


@lru_cache(maxsize=4096)
def _share_of(seed: str) -> int:
    """Returns the schedule's share, as a number of 64 bits."""
    return int.from_bytes(blake2b(f"spread {seed}".encode(errors="surrogatepass"), digest_size=8).digest())
