"""Builds the bodies of callbacks.

The ledger stores the whole body of an event's callback. For a run it stores only the payload and the schedule's name.
The rest is in other columns, or in the rows of the organization, the command and the user.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from commands_platform.lib.instants import format_instant
from deliveries.models import Delivery, Kind


class Parties(NamedTuple):
    """The parts of a run's body that say whose it is, as JSON texts."""

    intent: str
    uuids_and_name: str


@lru_cache(maxsize=4096)
def parties_of(
    organization_uuid: str, command_uuid: str, command_name: str, user_uuid: str | None, user_full_name: str | None
) -> Parties:
    """Returns the parts made of these columns. They are cached, because the runs of a herd share a few of them."""
    return Parties(
        intent=_json(command_name),
        uuids_and_name=f'"organization_uuid":"{organization_uuid}","user_uuid":{_json(user_uuid)},'
        f'"user_full_name":{_json(user_full_name)},"command_uuid":"{command_uuid}"',
    )


def run_body(
    payload: str,
    *,
    parties: Parties,
    schedule_uuid: str,
    schedule_name: str,
    due_at: datetime,
    exchange_token: str | None,
    attempt: int,
) -> str:
    """Returns the body of a run's callback. `payload` is the stored JSON text, which is sent unchanged."""
    due, token = _formatted(due_at), f'"{exchange_token}"' if exchange_token else "null"
    return (
        f'{{"intent":{parties.intent},"query":"","event_timestamp":"{due}",{parties.uuids_and_name},'
        f'"exchange_token":{token},"payload":{payload},"scheduled_execution":{{"uuid":"{schedule_uuid}",'
        f'"name":{_json(schedule_name)},"due_at":"{due}","attempt":{attempt}}}}}'
    )


def whole_body(delivery: Delivery) -> str:
    """Returns the delivery's body without an exchange token and with attempt 0. It is empty if there is none."""
    if not delivery.body or delivery.kind == Kind.EVENT:
        return delivery.body
    user = delivery.user
    parties = parties_of(
        str(delivery.organization.uuid),
        str(delivery.command.uuid),
        delivery.command.name,
        str(user.uuid) if user else None,
        user.full_name if user else None,
    )
    return run_body(
        delivery.body,
        parties=parties,
        schedule_uuid=str(delivery.source_uuid),
        schedule_name=delivery.schedule_name or "",
        due_at=delivery.due_at,
        exchange_token=None,
        attempt=0,
    )


# The runs of a herd share one instant.
_formatted = lru_cache(maxsize=256)(format_instant)


def _json(text: str | None) -> str:
    return orjson.dumps(text).decode()
