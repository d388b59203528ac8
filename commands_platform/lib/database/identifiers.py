"""Identifiers: random ones for what callers name, time-ordered ones for what is written in bulk."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import uuid_utils


def new_ledger_id() -> UUID:
    """A UUIDv7 (RFC 9562): its neighbours in time are its neighbours in the index, so bulk inserts stay cheap."""
    return UUID(int=uuid_utils.uuid7().int)


def first_ledger_id_at(instant: datetime) -> UUID:
    """The smallest UUIDv7 of the instant's millisecond: rows from then on are a range of the primary key."""
    milliseconds = int(instant.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62)
