from __future__ import annotations

MAX_ID_LENGTH = 60


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shortens the names of tests with long values. Pytest also puts a test's name into an environment variable."""
    if isinstance(val, str | bytes) and len(val) > MAX_ID_LENGTH:
        return f"{val[:MAX_ID_LENGTH]!a}…{len(val)}"
    return None
