"""Hands a secret from the page that made it to the next page, which shows it once.

It travels in a signed cookie of that page, which expires when the page has shown it, or after a minute. The server
stores it nowhere. A message would put a long secret into the session, and so into the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase

COOKIE = "shown-once"
LIFETIME = timedelta(minutes=1)
_SALT = "commands-platform.shown-once"


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A sentence, and values by their labels, for the next page to show."""

    note: str
    values: Mapping[str, str]


def hand_over(request: HttpRequest, response: HttpResponseBase, shown: ShownOnce, *, path: str) -> None:
    """Hands `shown` to the page at `path`, for the operator who asked for it."""
    content = signing.dumps([request.user.pk, shown.note, dict(shown.values)], salt=_SALT)
    response.set_cookie(
        COOKIE, content, path=path, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Strict"
    )


def take(request: HttpRequest) -> ShownOnce | None:
    """Returns what was handed to this page, or None. Afterwards the caller calls `forget`."""
    try:
        user_id, note, values = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
    return ShownOnce(note, values) if user_id == request.user.pk else None


def forget(request: HttpRequest, response: HttpResponseBase) -> None:
    """Deletes the cookie, if there is one, and keeps the response out of every cache."""
    if COOKIE in request.COOKIES:
        response.delete_cookie(COOKIE, path=request.path, samesite="Strict")
        response.headers["Cache-Control"] = "no-store, private"
