from __future__ import annotations

LONGEST_ID = 60


def pytest_make_parametrize_id(val: object) -> str | None:
    """Hostile values run to a megabyte; a test's name, which also becomes an environment variable, must not."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{val[:LONGEST_ID]!a}…{len(val)}"
    return None
