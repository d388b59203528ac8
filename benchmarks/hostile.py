"""Hostile: measures the latency of /healthz and the memory of the web while clients are slow, greedy or unknown."""

from __future__ import annotations

import argparse
import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import psutil

from auth_tokens.keys import new_key
from benchmarks.support import hostile_load
from benchmarks.support.loader import Request, put_load
from benchmarks.support.platform import MeasuredPlatform, Owner, platform
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import insert_schedules

_MIB = 1024 * 1024
_PAYLOAD_BYTES = 250_000
_PROBES_A_SECOND, _PROBES = 50, 10


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.clients, options.seconds, options.schedules = 50, 2.0, 20
    rows = []
    with platform(("web", "beat")) as running:
        owner = running.make_owner("http://127.0.0.1:9999/")
        running.wait_until_alive()
        far = datetime.now(UTC) + timedelta(days=30)
        insert_schedules(
            running, owner, count=options.schedules, due=far, urls=["http://127.0.0.1:9999/"], payload=_PAYLOAD_BYTES
        )
        for name, attack in _attacks(running, owner, options).items():
            progress(name)
            with attack:
                lag = _probe(running.port, options.seconds)
            memory = _largest_worker(running)
            emit("hostile", attack=name, clients=options.clients, seconds=options.seconds, worker_mib=memory, **lag)
            rows.append((name, lag["p50_ms"], lag["p99_ms"], lag["max_ms"], memory))
    table("/healthz, ms, and the largest worker, MiB of PSS", [("beside", "p50", "p99", "max", "worker"), *rows])


def _attacks(
    running: MeasuredPlatform, owner: Owner, options: argparse.Namespace
) -> dict[str, AbstractContextManager[None]]:
    known, unknown = f"X-API-KEY: {owner.api_key}\r\n", f"X-API-KEY: {new_key()[0]}\r\n"
    exchange = running.call(
        "POST",
        "/v1/auth/fetch-command-exchange-token/",
        {"user_uuid": owner.user_uuid},
        headers={"X-API-KEY": owner.api_key},
    )
    token = f"X-EXCHANGE-TOKEN: {exchange.json['token']}\r\n"

    def clients(kind: str, headers: str = "") -> AbstractContextManager[None]:
        return hostile_load.running(hostile_load.Clients(kind, running.port, options.clients, headers))

    return {
        "nobody": _nothing(),
        "slow bodies with a key": clients("slow bodies", known),
        "slow bodies without": clients("slow bodies"),
        "slow heads": clients("slow heads"),
        "unknown keys": clients("wrong keys", unknown),
        "misshapen keys": clients("wrong keys", "X-API-KEY: cmdp_wrong\r\n"),
        "lists that nobody reads": clients("slow readers", known + token),
        "large lists": _large_lists(running.port, owner.api_key, exchange.json["token"], options.seconds),
    }


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _large_lists(port: int, key: str, token: str, seconds: float) -> Iterator[None]:
    request = Request(
        f"http://127.0.0.1:{port}/v1/platform/scheduling/", (f"X-API-KEY: {key}", f"X-EXCHANGE-TOKEN: {token}")
    )
    load = threading.Thread(target=lambda: put_load(request, connections=8, seconds=seconds))
    load.start()
    try:
        yield
    finally:
        load.join()


def _probe(port: int, seconds: float) -> dict[str, float]:
    """Requests /healthz at a steady pace. Connections take turns, so a slow answer does not delay the others."""
    began = time.monotonic()
    with ThreadPoolExecutor(_PROBES) as probes:
        parts = probes.map(lambda number: _probe_with(port, began, number, seconds), range(_PROBES))
        return milliseconds([span for part in parts for span in part])


def _probe_with(port: int, began: float, number: int, seconds: float) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    spans = []
    for due in count(began + number / _PROBES_A_SECOND, _PROBES / _PROBES_A_SECOND):
        if due > began + seconds:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        asked = time.monotonic()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        spans.append(time.monotonic() - asked)
    connection.close()
    return spans


def _largest_worker(running: MeasuredPlatform) -> float:
    tree: list[psutil.Process] = running.process("web").children(recursive=True)
    return round(max(each.memory_full_info().pss for each in tree) / _MIB, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks hostile", description=__doc__)
    parser.add_argument(
        "--clients",
        type=int,
        default=500,
        help="Clients of each kind. Each client with a wrong key sends one request a second.",
    )
    parser.add_argument("--seconds", type=float, default=10, help="Seconds for each kind of client.")
    parser.add_argument(
        "--schedules", type=int, default=250, help="Schedules for the lists, with a payload of 250 KB each."
    )
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser
