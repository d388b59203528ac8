"""Address guards for tests, and the table of dangerous URLs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outbound.address_guard import AddressGuard
from outbound.addresses import parse_networks
from outbound.errors import InvalidCallbackUrlError

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "ssrf_urls.json").read_text(encoding="utf-8"))
PUBLIC_IN_TABLE = {"93.184.215.14"}

GUARD = AddressGuard()
EVERYTHING = AddressGuard(allowed_networks=parse_networks("0.0.0.0/0, ::/0"))


def urls_of(stage: str) -> list[str]:
    return [entry["url"] for entry in TABLE["bad"] if entry["stage"] == stage]


def is_accepted(guard: AddressGuard, url: str) -> bool:
    try:
        guard.check_url(url)
    except InvalidCallbackUrlError:
        return False
    return True
