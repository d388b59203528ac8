"""Reads `Idempotency-Key`, and writes answers down so that they can be given again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import orjson
from django.http import HttpResponse
from rest_framework.response import Response

from commands_platform.lib.errors import InvalidIdempotencyKeyError
from commands_platform.lib.http.renderers import RawJson

IDEMPOTENCY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
IDEMPOTENCY_META = "HTTP_IDEMPOTENCY_KEY"
IDEMPOTENT_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# Printable ASCII.
_IDEMPOTENCY_KEY_SHAPE = re.compile(r"[ -~]{1,255}")
# The framework sets these headers anew.
_OWN_HEADERS = frozenset({"allow", "content-length", "content-type", "vary"})


class StoredAnswer(NamedTuple):
    """The status of an answer, and its headers and body as one text."""

    status: int
    content: str


def read_idempotency_key(header: str) -> str:
    """Returns the key in the header. `"a"` and `a` are the same key. Raises InvalidIdempotencyKeyError."""
    key = header.strip()
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not _IDEMPOTENCY_KEY_SHAPE.fullmatch(key):
        raise InvalidIdempotencyKeyError
    return key


def digest_of(parts: Iterable[object]) -> bytes:
    """Returns the SHA-256 of the parts, which can be any JSON values. The order of an object's keys has no effect."""
    return hashlib.sha256(orjson.dumps(list(parts), option=orjson.OPT_SORT_KEYS)).digest()


def store_answer(response: HttpResponse) -> StoredAnswer:
    """Returns a rendered response in the form that can be stored."""
    headers = {name: value for name, value in response.headers.items() if name.lower() not in _OWN_HEADERS}
    return StoredAnswer(response.status_code, f"{orjson.dumps(headers).decode()}\n{response.content.decode()}")


def replay(answer: StoredAnswer) -> Response:
    """Returns the response that was stored, with the header that says so."""
    headers, _, body = answer.content.partition("\n")
    data = RawJson(body) if body else None
    return Response(data, status=answer.status, headers={**orjson.loads(headers), REPLAYED_HEADER: "true"})
