"""The chain of an organization's changes. Each change has a hash of itself and of the hash before it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from audit.models import Chain, Change
from commands_platform.lib.encryption import EncryptedText
from commands_platform.lib.instants import format_instant


@dataclass(frozen=True, slots=True)
class Head:
    """The last change of a chain, and the last one that retention has removed from its beginning."""

    organization_id: int
    position: int = 0
    hash: str = ""
    removed_position: int = 0
    removed_hash: str = ""

    def to_text(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @staticmethod
    def from_text(text: str, *, organization_id: int) -> Head:
        """Returns the head of this organization. Raises ValueError for any other text."""
        values: dict[str, Any] = orjson.loads(text)
        head = Head(**values)
        if head.organization_id != organization_id:
            raise ValueError("It is the head of another organization's chain.")
        return head


def read_head(chain: Chain) -> Head | None:
    """Returns the head of a chain, or None if this server did not write it."""
    if isinstance(chain.head, EncryptedText):
        return None
    try:
        return Head.from_text(chain.head, organization_id=chain.organization_id)
    except (ValueError, TypeError):
        return None


def content_of(change: Change, *, position: int) -> dict[str, object]:
    """Returns what the hash of a change covers, which is what the API shows of it."""
    return {
        "uuid": str(change.id),
        "position": position,
        "recorded_at": format_instant(change.recorded_at),
        "actor_kind": change.actor_kind,
        "actor_uuid": str(change.actor_uuid) if change.actor_uuid is not None else None,
        "actor_name": change.actor_name,
        "actor_address": change.actor_address,
        "correlation_id": change.correlation_id,
        "verb": change.verb,
        "object_kind": change.object_kind,
        "object_uuid": change.object_uuid,
        "object_name": change.object_name,
        "old": change.old,
        "new": change.new,
    }


def hash_of(change: Change, *, position: int, previous: str) -> str:
    """Returns the SHA-256 of the previous hash, followed by the content as JSON with sorted keys and no blanks."""
    content = orjson.dumps(content_of(change, position=position), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(previous.encode() + content).hexdigest()
