"""Is it alive, is it ready: for people, load balancers and container engines. Neither answer tells a secret."""

from __future__ import annotations

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from redis import RedisError

from commands_platform.lib import broker


def healthz(_request: HttpRequest) -> JsonResponse:
    """200 as soon as the web answers at all."""
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when PostgreSQL and the broker answer and beat has ticked in the last seconds; else 503 with what is not."""
    checks = {"database": _database_answers(), "broker": False, "beat": False}
    try:
        checks["beat"] = broker.beat_lives()
        checks["broker"] = True
    except (RedisError, OSError):
        pass
    ready = all(checks.values())
    return JsonResponse({"status": "ready" if ready else "not ready", **checks}, status=200 if ready else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True
