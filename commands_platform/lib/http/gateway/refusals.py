"""Requests that the gateway refuses. The middleware answers them, so all errors look alike and are logged alike."""

from __future__ import annotations

from dataclasses import dataclass, field

# The name of a Refusal in the WSGI environment.
REFUSAL = "commands_platform.refusal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that needs no view: a status, the detail and code of its body, and headers."""

    status: int
    detail: str
    code: str
    headers: dict[str, str] = field(default_factory=dict)


# The rest of the body may still arrive, so the connection cannot be used again.
TOO_SLOW = Refusal(408, "The request body did not arrive in time.", "request_timeout", {"Connection": "close"})
CUT_SHORT = Refusal(
    400, "The request body ended early, or its chunks cannot be read.", "bad_request", {"Connection": "close"}
)
TOO_MANY = Refusal(429, "This client has too many requests in progress.", "throttled", {"Retry-After": "1"})
OVERLOADED = Refusal(503, "The server is busy. Try again in a moment.", "service_unavailable", {"Retry-After": "5"})
