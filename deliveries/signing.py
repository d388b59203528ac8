"""Signs callbacks by Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Sequence
from functools import lru_cache

from deliveries.errors import InvalidSigningSecretError

SECRET_PREFIX = "whsec_"  # noqa: S105


def signature_header(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Returns the value of `webhook-signature`: one `v1,<base64>` for each secret, in order, separated by spaces.

    `timestamp` is the Unix time in `webhook-timestamp`. Raises InvalidSigningSecretError, which never repeats the
    secret, if a secret is malformed or there is none.
    """
    if not secrets:
        raise InvalidSigningSecretError("There is no secret to sign with.")
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join(
        "v1," + binascii.b2a_base64(hmac.digest(_key(secret), content, "sha256"), newline=False).decode("ascii")
        for secret in secrets
    )


@lru_cache(maxsize=1024)
def _key(secret: str) -> bytes:
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        # The reference libraries accept secrets without padding too.
        key = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:
        raise InvalidSigningSecretError from error
    if not secret.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise InvalidSigningSecretError
    return key
