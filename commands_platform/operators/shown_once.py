"""Passes a new secret from the request that made it to the next page, which shows it once.

The secret travels in a signed cookie that is valid for that page only. The page deletes the cookie when it has shown
the secret, and after a minute the cookie is no longer accepted. The server stores the secret nowhere: one of Django's
messages would put a long secret into the session, and so into the database.
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
    """A sentence, and labelled values, that the next page shows."""

    note: str
    values: Mapping[str, str]


def hand_over(request: HttpRequest, response: HttpResponseBase, shown: ShownOnce, *, path: str) -> None:
    """Makes the page at `path` show `shown`, if the same operator opens it."""
    content = signing.dumps([request.user.pk, shown.note, dict(shown.values)], salt=_SALT)
    response.set_cookie(
        COOKIE, content, path=path, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Strict"
    )


def take(request: HttpRequest) -> ShownOnce | None:
    """Returns what this page is to show, or None. The caller must then call `forget` with the response."""
    try:
        user_id, note, values = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=LIFETIME)
    except signing.BadSignature:
        return None
    return ShownOnce(note, values) if user_id == request.user.pk else None


def forget(request: HttpRequest, response: HttpResponseBase) -> None:
    """Deletes the cookie, if there is one, and forbids caches to store the response."""
    if COOKIE in request.COOKIES:
        response.delete_cookie(COOKIE, path=request.path, samesite="Strict")
        response.headers["Cache-Control"] = "no-store, private"
