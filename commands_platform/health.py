"""Health checks for people, load balancers and container engines. Their answers contain no secrets."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from commands_platform.lib import broker, clock
from deliveries.models import Delivery
from events.models import OutboxEvent
from organizations.services import secrets_are_readable
from processes.heartbeats import RoleHealth, health_by_role
from processes.models import Role
from scheduling.models import ScheduledExecution

# Ticks come every second, whether beat sends them or not.
_MAX_WORK_AGE = timedelta(seconds=5)
# A herd may keep a dispatcher busy for some time.
_MAX_IDLE_DISPATCHER = timedelta(minutes=1)
_MAX_OVERDUE = timedelta(seconds=10)


# Anybody may ask, so the answer is computed once in this time.
_KEPT_SECONDS = 1.0
_recent: dict[str, tuple[float, dict[str, Check]]] = {}
# When each check last succeeded in this process.
_last_successes: dict[str, float] = {}


class Status(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    """It works, but later or less well than it should."""
    DOWN = "down"


class Check(NamedTuple):
    """The result of one check. The age is the time since the last good sign, or how long the oldest work is overdue."""

    status: Status
    age: timedelta | None = None
    note: str = ""


def healthz(_request: HttpRequest) -> JsonResponse:
    """Returns 200. A process that can answer is alive."""
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """Returns the result of every check. The status is 503 if one of them is down, and otherwise 200."""
    checks = _recent_checks()
    statuses = {check.status for check in checks.values()}
    overall = "not ready" if Status.DOWN in statuses else "degraded" if Status.DEGRADED in statuses else "ready"
    return JsonResponse(
        {"status": overall, "checks": {name: _shown(check) for name, check in checks.items()}},
        status=503 if Status.DOWN in statuses else 200,
    )


def _recent_checks() -> dict[str, Check]:
    """Returns checks of the last second, so that asking often costs no more."""
    recent = _recent.get("checks")
    if recent is None or time.monotonic() - recent[0] > _KEPT_SECONDS:
        recent = _recent["checks"] = (time.monotonic(), run_checks())
    return recent[1]


def run_checks() -> dict[str, Check]:
    """Runs every check. Without the database there is only one more that means anything."""
    checks = {"database": _since_last_success("database", _database_answers, otherwise=Status.DOWN)}
    broker_check = _since_last_success("broker", broker.answers, otherwise=Status.DEGRADED)
    if checks["database"].status == Status.OK:
        try:
            checks |= _checks_of_the_database(is_broker_here=broker_check.status == Status.OK)
        except Error:
            checks["database"] = Check(Status.DOWN, note="It stopped answering during the checks.")
    return checks | {"broker": broker_check}


def _checks_of_the_database(*, is_broker_here: bool) -> dict[str, Check]:
    if not _migrations_are_applied():
        return {"migrations": Check(Status.DOWN, note="Run manage.py migrate.")}
    health = health_by_role()
    return {
        "migrations": Check(Status.OK),
        "secrets": Check(Status.OK) if secrets_are_readable() else Check(Status.DOWN, note="A key is missing."),
        "dispatcher": _dispatcher(health.get(Role.DISPATCHER)),
        "deliverer": _worker(health.get(Role.DELIVERER)),
        "beat": _beat(health.get(Role.BEAT), is_broker_here=is_broker_here),
        "overdue": _overdue(),
    }


def _worker(role: RoleHealth | None) -> Check:
    if role is None:
        return Check(Status.DOWN, note="None has been seen.")
    if not role.alive:
        return Check(Status.DOWN, role.seen_ago, "None has reported lately.")
    return Check(Status.OK, role.seen_ago, f"{role.alive} running")


def _dispatcher(role: RoleHealth | None) -> Check:
    """A dispatcher works every second, with hints or without."""
    check = _worker(role)
    if role is None or check.status != Status.OK:
        return check
    if role.worked_ago is None or role.worked_ago > _MAX_IDLE_DISPATCHER:
        return Check(Status.DEGRADED, role.worked_ago, "It has begun no work lately.")
    return check


def _beat(role: RoleHealth | None, *, is_broker_here: bool) -> Check:
    """Workers tick without beat, a little less punctually. While the broker is away, beat can send nothing."""
    if role is None or not role.alive:
        return Check(Status.DEGRADED, role and role.seen_ago, "None has reported lately.")
    if is_broker_here and (role.worked_ago is None or role.worked_ago > _MAX_WORK_AGE):
        return Check(Status.DEGRADED, role.worked_ago, "It sends no ticks.")
    return Check(Status.OK, role.seen_ago, f"{role.alive} running")


def _overdue() -> Check:
    """Finds the schedule or event that has been due for longest, by one probe of an index each.

    Deliveries are only mentioned, because those of one receiver that does not answer may wait for a day.
    """
    now = clock.now()
    schedules = ScheduledExecution.objects.active().filter(next_run_at__lte=now).order_by("next_run_at")
    oldest = (
        schedules.values_list("next_run_at", flat=True).first(),
        OutboxEvent.objects.order_by("pk").values_list("happened_at", flat=True).first(),
    )
    age = max((now - due_at for due_at in oldest if due_at), default=timedelta())
    deliveries = Delivery.objects.due(now).order_by("next_attempt_at")
    waiting_since = deliveries.values_list("next_attempt_at", flat=True).first()
    note = f"The oldest delivery has waited for {(now - waiting_since).total_seconds():.0f} s." if waiting_since else ""
    return Check(Status.DEGRADED if age > _MAX_OVERDUE else Status.OK, age, note)


def _since_last_success(name: str, check: Callable[[], bool], *, otherwise: Status) -> Check:
    if check():
        _last_successes[name] = time.monotonic()
        return Check(Status.OK, timedelta())
    last = _last_successes.get(name)
    age = None if last is None else timedelta(seconds=time.monotonic() - last)
    return Check(otherwise, age, "It does not answer.")


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def _migrations_are_applied() -> bool:
    """Looks only until they are, because an applied migration stays applied."""
    if "migrations" in _last_successes:
        return True
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return False
    _last_successes["migrations"] = time.monotonic()
    return True


def _shown(check: Check) -> dict[str, object]:
    shown: dict[str, object] = {"status": check.status}
    if check.age is not None:
        shown["age_seconds"] = round(check.age.total_seconds(), 1)
    if check.note:
        shown["note"] = check.note
    return shown
