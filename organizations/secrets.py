"""Makes the secrets of commands, by which receivers check callbacks."""

from __future__ import annotations

import base64
import secrets


def new_signing_secret() -> str:
    """Returns a Standard Webhooks secret: `whsec_` and 256 random bits in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_static_signature() -> str:
    """Returns a value for `X-DailyBot-Signature`: 256 random bits in hexadecimal."""
    return secrets.token_hex(32)
