"""Identifiers: random ones for what callers name, time-ordered ones for what is written in bulk."""

from __future__ import annotations

from uuid import UUID

import uuid_utils


def new_ledger_id() -> UUID:
    """A UUIDv7 (RFC 9562): its neighbours in time are its neighbours in the index, so bulk inserts stay cheap."""
    return UUID(int=uuid_utils.uuid7().int)
