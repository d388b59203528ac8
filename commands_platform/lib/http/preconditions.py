"""Makes entity tags, and reads `If-Match` (RFC 9110), so that no write overwrites a change unseen."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from django.http import HttpRequest
from drf_spectacular.utils import OpenApiParameter

from commands_platform.lib.errors import PreconditionFailedError
from commands_platform.lib.http.renderers import render

ETAG_HEADER = "ETag"
_STRONG_TAG = re.compile(r'(?<!W/)"([!#-~]*)"')

ETAG = OpenApiParameter(
    ETAG_HEADER, str, OpenApiParameter.HEADER, response=[200], description="The object's version, for `If-Match`."
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER,
    description="`ETag`s of the versions that the request is meant for, or `*` for any. If the object has no such tag, "
    "nothing happens, and the answer is 412.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of an `If-Match` header."""

    tags: frozenset[str]
    is_any: bool = False

    def check(self, tag: str | None) -> None:
        """Raises PreconditionFailedError if the object has another tag, or none because it does not exist."""
        if tag is None or not (self.is_any or tag in self.tags):
            raise PreconditionFailedError


def read_if_match(request: HttpRequest) -> Condition | None:
    """Returns the condition of the request, or None. Weak tags never match, and neither does a text that is no tag."""
    header = request.META.get("HTTP_IF_MATCH")
    if header is None:
        return None
    return Condition(frozenset(f'"{tag}"' for tag in _STRONG_TAG.findall(header)), is_any=header.strip() == "*")


def etag_of(content: object) -> str:
    """Returns a strong entity tag for any value that has a JSON form."""
    return etag_of_text(render(content))


def etag_of_text(text: bytes) -> str:
    return f'"{hashlib.blake2b(text, digest_size=12).hexdigest()}"'
