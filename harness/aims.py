"""The aims of a fair platform: how much one organization may suffer from another."""

from __future__ import annotations

# The p99 of an organization's lag beside another one, to that of the same load alone.
MAX_RATIO = 2.0


def missed_aim(*, ratio: float, behind: int, is_quick: bool = False) -> str:
    """Returns how a result misses the aim, or an empty string if it does not.

    `behind` counts deliveries that did not come. In a quick run the ratio says nothing.
    """
    if behind:
        return f"{behind} stayed behind"
    if ratio > MAX_RATIO and not is_quick:
        return f"more than {MAX_RATIO:g} times"
    return ""
