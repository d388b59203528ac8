"""Secrets of a command: what receivers check callbacks with."""

from __future__ import annotations

import base64
import secrets


def new_signing_secret() -> str:
    """A Standard Webhooks secret: `whsec_` and 256 random bits in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_static_signature() -> str:
    """The value of `X-DailyBot-Signature`: 256 random bits in hexadecimal."""
    return secrets.token_hex(32)
