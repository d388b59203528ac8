"""Builds the request of one attempt: its body with a new token, and headers that a receiver can check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from auth_tokens.tokens import make_token_of
from commands_platform import __version__
from commands_platform.lib.encryption import SecretUnreadableError
from deliveries.bodies import run_body
from deliveries.custom_headers import read_headers
from deliveries.models import Kind
from deliveries.queue import Claim
from deliveries.signing import signature_header

# The part of a stored body of an event that each attempt fills in.
_EVENT_GAP = '"exchange_token":null}'
USER_AGENT = f"CommandsPlatform/{__version__}"


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """A POST, ready for libcurl."""

    url: str
    headers: list[str | bytes]
    body: bytes


def build_request(claim: Claim, *, now: datetime) -> CallbackRequest:
    """Returns the request of this attempt, signed for this second. The webhook-id is the same on every attempt.

    Raises SecretUnreadableError if the command's secrets or a header's value cannot be decrypted.
    """
    if not claim.command.is_readable:
        raise SecretUnreadableError
    message_id, timestamp = str(claim.id), int(now.timestamp())
    body = _body(claim)
    signature = signature_header(claim.command.signing_secrets, message_id=message_id, timestamp=timestamp, body=body)
    return CallbackRequest(
        url=claim.url,
        headers=[
            "Content-Type: application/json",
            f"User-Agent: {USER_AGENT}",
            f"webhook-id: {message_id}",
            f"webhook-timestamp: {timestamp}",
            f"webhook-signature: {signature}",
            f"X-DailyBot-Signature: {claim.command.signature}",
            f"X-Correlation-Id: {claim.correlation_id or message_id}",
            *_next_signature(claim),
            *_extra_headers(claim),
            # libcurl would wait for a "100 Continue" before a body of more than 1 MiB.
            "Expect:",
        ],
        body=body,
    )


def _next_signature(claim: Claim) -> list[str]:
    following = claim.command.next_signature
    return [f"X-DailyBot-Signature-Next: {following}"] if following else []


def _extra_headers(claim: Claim) -> list[bytes]:
    if not claim.headers:
        return []
    # HTTP encodes header values as Latin-1. pycurl would refuse a str that is not ASCII.
    return [f"{name}: {value}".encode("latin-1") for name, value in read_headers(claim.headers).items()]


def _body(claim: Claim) -> bytes:
    # The token is made here so that none is ever stored.
    token = make_token_of(claim.command.id, claim.command.token_generation, claim.user_id, claim.user_token_generation)
    if claim.kind == Kind.EVENT:
        if not claim.body.endswith(_EVENT_GAP):
            raise ValueError("The stored body is not that of an event.")
        return f'{claim.body[: -len(_EVENT_GAP)]}"exchange_token":"{token}"}}'.encode()
    return run_body(
        claim.body,
        parties=claim.parties,
        schedule_uuid=claim.source_uuid,
        schedule_name=claim.schedule_name or "",
        due_at=claim.due_at,
        exchange_token=token,
        attempt=claim.attempt,
    ).encode()
