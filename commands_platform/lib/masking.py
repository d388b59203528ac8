"""Takes the platform's own secrets out of texts, whatever they are part of, in time linear in their length."""

from __future__ import annotations

import re

REMOVED = "[removed]"

# Each shape begins with letters of its own and has at most one open-ended run, at its end. So a run is read once: a
# long one is removed, and the others are short. An open-ended run before a fixed part would be read from each of its
# characters anew.
SHAPES = (
    r"cmdt_[\w-]{40,}",  # an exchange token
    r"v1,[A-Za-z0-9+/]{43}=",  # a webhook-signature
    r"whsec_[A-Za-z0-9+/=_-]{16,}",  # a signing secret
    r"cmdp_[0-9A-Za-z]{8}_[0-9A-Za-z]{8,}",  # an API key
)
_SECRETS = re.compile("|".join(SHAPES), re.ASCII)


def mask_secrets(text: str) -> str:
    """Returns the text without exchange tokens, signatures, signing secrets and API keys."""
    return _SECRETS.sub(REMOVED, text)
