"""Everyday faults: processes and servers that are killed, frozen and restarted, and a clock that steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from harness.chaos.agenda import Agenda
from harness.chaos.plan import MARGIN_SECONDS, TIMEOUT_SECONDS

# The clock is stepped back once and forward once. The load must last longer by the sum of these seconds.
CLOCK_STEPS = (-3, 10)

_RESTART_SECONDS = (0.2, 3.0)
_DATABASE_AWAY_SECONDS = 40.0


def everyday_faults(agenda: Agenda) -> dict[str, Callable[[], None]]:
    return {
        **{f"kill {kind}": partial(_kill_one, agenda, kind) for kind in ("deliverer", "dispatcher", "beat")},
        "flush broker": partial(_flush_broker, agenda),
        "restart broker": partial(_restart_broker, agenda),
        "restart database": partial(_restart_database, agenda),
        "database away": partial(_take_database_away, agenda),
        "freeze": partial(_freeze_any, agenda),
        "freeze dispatcher": partial(_freeze, agenda, "dispatcher"),
        "clock back": partial(_step, agenda, min(CLOCK_STEPS)),
        "clock forward": partial(_step, agenda, max(CLOCK_STEPS)),
    }


def take_broker_away_half_the_time(agenda: Agenda, *, begin: float, end: float) -> None:
    """Plans outages of Valkey. Each is as long as the time before the next one."""
    at = begin
    while at < end:
        seconds = agenda.random.uniform(3.0, 10.0)
        agenda.at(at, partial(_take_broker_away, agenda, seconds))
        at += 2 * seconds


def kill(agenda: Agenda, name: str) -> None:
    """Kills a process, and starts it again a little later."""
    at = time.time()
    agenda.platform.kill(name)
    kind = name.partition(".")[0]
    if kind == "deliverer":
        agenda.disturb(f"kill {kind}", at - TIMEOUT_SECONDS, at + MARGIN_SECONDS)
    agenda.tell(f"kill {kind}", name)
    agenda.after(agenda.random.uniform(*_RESTART_SECONDS), partial(agenda.platform.start, name))


def _kill_one(agenda: Agenda, kind: str) -> None:
    running = agenda.platform.running(kind)
    if running:
        kill(agenda, agenda.random.choice(running))


def _flush_broker(agenda: Agenda) -> None:
    if agenda.platform.has_broker:
        agenda.platform.flush_broker()
        agenda.tell("flush broker")


def _restart_broker(agenda: Agenda) -> None:
    if agenda.platform.has_broker:
        agenda.platform.stop_broker()
        time.sleep(agenda.random.uniform(0.0, 2.0))
        agenda.platform.start_broker()
        agenda.tell("restart broker")


def _take_broker_away(agenda: Agenda, seconds: float) -> None:
    agenda.platform.stop_broker()
    agenda.tell("broker away", seconds=round(seconds, 1))
    agenda.after(seconds, agenda.platform.start_broker)


def _restart_database(agenda: Agenda) -> None:
    """Restarts PostgreSQL, either cleanly or after a simulated crash."""
    postgres = agenda.platform.servers.postgres
    assert postgres is not None
    at = time.time()
    crash = agenda.random.random() < 0.5
    if crash:
        postgres.kill()
    else:
        postgres.stop()
    postgres.start()
    took = time.time() - at
    # Outcomes of earlier attempts may have been recorded late, or not within their lease.
    agenda.disturb("restart database", at - TIMEOUT_SECONDS - MARGIN_SECONDS, at + took + MARGIN_SECONDS)
    agenda.tell("restart database", crash=crash, took=round(took, 2))


def _take_database_away(agenda: Agenda) -> None:
    """Stops PostgreSQL for longer than anybody waits for it."""
    postgres = agenda.platform.servers.postgres
    assert postgres is not None
    at = time.time()
    postgres.stop()
    time.sleep(_DATABASE_AWAY_SECONDS)
    postgres.start()
    agenda.disturb("database away", at - TIMEOUT_SECONDS - MARGIN_SECONDS, time.time() + MARGIN_SECONDS)
    agenda.tell("database away", seconds=round(time.time() - at, 1))


def _freeze_any(agenda: Agenda) -> None:
    # This is mostly a deliverer, because deliverers hold leases.
    _freeze(agenda, *(("deliverer",) if agenda.random.random() < 0.6 else ("dispatcher", "deliverer", "beat")))


def _freeze(agenda: Agenda, *kinds: str) -> None:
    running = agenda.platform.running(*kinds)
    if not running:
        return
    name = agenda.random.choice(running)
    agenda.platform.freeze(name)
    agenda.tell("freeze", name, seconds=agenda.plan.freeze)
    agenda.after(agenda.plan.freeze, partial(_thaw, agenda, name, time.time()))


def _thaw(agenda: Agenda, name: str, frozen_at: float) -> None:
    if name not in agenda.platform.frozen:
        return
    agenda.platform.thaw(name)
    agenda.report({"event": "thaw", "name": name})
    if name.startswith("deliverer"):
        # It now sends the requests that it was about to send, even if another deliverer has sent them meanwhile.
        thawed_at = time.time()
        spans = (frozen_at - TIMEOUT_SECONDS, frozen_at + MARGIN_SECONDS, thawed_at, thawed_at + MARGIN_SECONDS)
        agenda.disturb("freeze", *spans)


def _step(agenda: Agenda, seconds: float) -> None:
    agenda.platform.step_clock(timedelta(seconds=seconds))
    at = time.time()
    agenda.clock_steps.append((at, seconds))
    if seconds > 0:
        # Leases end early.
        agenda.disturb("clock forward", at - TIMEOUT_SECONDS - MARGIN_SECONDS, at + MARGIN_SECONDS)
    agenda.tell("clock back" if seconds < 0 else "clock forward", seconds=seconds)
