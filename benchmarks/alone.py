"""Alone: what becomes of a steady load while Valkey or beat is away, and how soon all is well when it is back."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from benchmarks.burst import warm_up
from benchmarks.steady import lag_of_steady_load
from benchmarks.support.platform import MeasuredPlatform, platform
from benchmarks.support.receiver import Receiver, TimedArrival
from benchmarks.support.results import emit, milliseconds, progress, table

_LOAD_BEGINS_IN = 3
# Seconds of the load before the fault, and after its end.
_BEFORE, _AFTER = 10, 10


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.seconds = min(options.seconds, 10)
    rows = []
    for name in options.scenarios or FAULTS:
        progress(f"{name}: {options.seconds} s under {options.rate} slots a second")
        rows.append(_measure(name, rate=options.rate, seconds=options.seconds))
    table(
        f"Lag in ms of {options.rate} slots a second while a part is away",
        [("away", "p50 and p99 before", "p50", "p99", "max", "p50 and p99 2 s after", "not delivered"), *rows],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks alone", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="Which parts are away; all by default.")
    parser.add_argument("--rate", type=int, default=200, help="Slots in each second.")
    parser.add_argument("--seconds", type=int, default=60, help="How long the part is away.")
    parser.add_argument("--quick", action="store_true", help="A small one, to see that it runs.")
    return parser


def _measure(name: str, *, rate: int, seconds: int) -> tuple[object, ...]:
    with Receiver() as receiver, platform() as running:
        owner = running.make_owner(receiver.url)
        warm_up(running, owner, receiver)
        span: list[float] = []
        total = _BEFORE + seconds + _AFTER
        begins_in = _LOAD_BEGINS_IN + rate * total // 3_000

        def cause_fault() -> None:
            time.sleep(begins_in + _BEFORE)
            span.append(time.time())
            with FAULTS[name](running):
                time.sleep(seconds)
            span.append(time.time())

        fault = threading.Thread(target=cause_fault)
        fault.start()
        arrivals = lag_of_steady_load(running, owner, receiver, rate=rate, seconds=total, begins_in=_LOAD_BEGINS_IN)
        fault.join()
        began, ended = span
        away = milliseconds(_lags(arrivals, since=began, until=ended))
        before = milliseconds(_lags(arrivals, since=0, until=began))
        back = milliseconds(_lags(arrivals, since=ended + 2))
        [(undelivered,)] = running.query("SELECT count(*) FROM deliveries_delivery WHERE state <> 'delivered'")
    emit(
        "alone",
        away=name,
        rate=rate,
        seconds=seconds,
        lag_before=before,
        lag=away,
        lag_after_return=back,
        undelivered=undelivered,
    )
    return (
        name,
        f"{before['p50_ms']} {before['p99_ms']}",
        *(away[percentile] for percentile in ("p50_ms", "p99_ms", "max_ms")),
        f"{back['p50_ms']} {back['p99_ms']}",
        undelivered,
    )


def _lags(arrivals: Sequence[TimedArrival], *, since: float, until: float = float("inf")) -> list[float]:
    return [arrival.lag for arrival in arrivals if since <= arrival.due < until]


@contextmanager
def _stopped_broker(running: MeasuredPlatform) -> Iterator[None]:
    assert running.servers.valkey is not None
    running.servers.valkey.stop()
    yield
    running.servers.valkey.start()


@contextmanager
def _frozen_broker(running: MeasuredPlatform) -> Iterator[None]:
    process = running.broker_process()
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


@contextmanager
def _stopped_beat(running: MeasuredPlatform) -> Iterator[None]:
    running.stop("beat")
    yield
    running.start("beat")


FAULTS: dict[str, Callable[[MeasuredPlatform], AbstractContextManager[None]]] = {
    "valkey": _stopped_broker,
    "frozen valkey": _frozen_broker,
    "beat": _stopped_beat,
}
