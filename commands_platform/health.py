"""Health checks for people, load balancers and container engines. Their answers contain no secrets."""

from __future__ import annotations

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from redis import RedisError

from commands_platform.lib import broker
from organizations.services import secrets_are_readable


def healthz(_request: HttpRequest) -> JsonResponse:
    """Returns 200. A process that can answer is alive."""
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """Returns 200 if PostgreSQL and the broker answer, beat ticks, and secrets can be decrypted. Otherwise 503."""
    checks = {"database": _database_answers(), "secrets": _secrets_are_readable(), "broker": False, "beat": False}
    try:
        checks["beat"] = broker.beat_lives()
        checks["broker"] = True
    except (RedisError, OSError):
        pass
    ready = all(checks.values())
    return JsonResponse({"status": "ready" if ready else "not ready", **checks}, status=200 if ready else 503)


def _secrets_are_readable() -> bool:
    try:
        return secrets_are_readable()
    except Error:
        return False


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True
