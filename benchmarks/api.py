"""API: measures requests a second and latencies of the main operations, on keep-alive connections.

It compares them with two REST framework views that do almost nothing, on a server of the same kind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from benchmarks.support import profiles
from benchmarks.support.loader import LoadResult, Request, put_load
from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform, used_since
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, progress, table
from commands_platform.local.ports import free_port

_KEYS = 1000


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.seconds = min(options.seconds, 1)
    environment = {"WEB_WORKERS": str(options.workers)}
    if options.threads:
        environment["WEB_THREADS"] = str(options.threads)
    with Receiver(keep="none") as receiver, platform(("web", "beat"), environment=environment) as running:
        owner = running.make_owner(receiver.url)
        running.wait_until_alive()
        bare_port = _start_bare(running)
        loads: dict[str, LoadResult] = {}
        cpu: dict[str, dict[str, float]] = {}
        for name, request in _requests(running, owner, bare_port).items():
            if not (name.startswith("yardstick") or options.only in name):
                continue
            progress(name)
            directory = options.profile and options.profile / name.replace(" ", "-").replace("/", "")
            before = running.cpu_seconds()
            with profiles.profiled(running, ["bare" if "bare" in name else "web"], directory):
                loads[name] = put_load(request, connections=options.connections, seconds=options.seconds)
            _check(name, loads[name])
            used = used_since(before, running.cpu_seconds())
            # Requests of the warm-up use CPU time too, but the load does not count them.
            answered = loads[name].rate * options.seconds * 1.2
            cpu[name] = {part: round(spent * 1000 / answered, 3) for part, spent in used.items() if spent > 0.05}
    yardstick = loads["yardstick: bare view with one SELECT"].rate
    for name, load in loads.items():
        emit(
            "api",
            operation=name,
            connections=options.connections,
            workers=options.workers,
            threads=options.threads,
            rate=load.rate,
            p50_ms=load.p50_ms,
            p99_ms=load.p99_ms,
            of_yardstick=round(load.rate / yardstick, 3),
            cpu_ms_per_request=cpu[name],
            loader_cpu_seconds=load.cpu_seconds,
        )
    table(
        f"{options.connections} connections, {options.workers} workers",
        [
            ("", "requests/s", "p50 ms", "p99 ms", "of the yardstick"),
            *((name, load.rate, load.p50_ms, load.p99_ms, load.rate / yardstick) for name, load in loads.items()),
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks api", description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, help="Threads of each worker. Default: that of the settings.")
    parser.add_argument("--seconds", type=float, default=8, help="Seconds for each operation.")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="Only operations with this text in their name, and the yardsticks."
    )
    profiles.add_option(parser)
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def _start_bare(running: MeasuredPlatform) -> int:
    port = free_port()
    command = running.web_command.replace(
        "--interface asginl --loop uvloop", "--interface wsgi --blocking-threads 4"
    ).replace("commands_platform.web:application", "benchmarks.support.bare_wsgi:application")
    # The command still begins with `exec`, so that the process that is ended later is the server and not a shell.
    running.add_process("bare", command.replace("${PORT:-8000}", str(port)))
    running.start("bare")
    running.wait_for(lambda: _answers(running, port), timeout=60, what="the yardstick's server does not answer")
    return port


def _answers(running: MeasuredPlatform, port: int) -> bool:
    own, running.port = running.port, port
    try:
        return running.call("GET", "/select").status == 200
    except OSError:
        return False
    finally:
        running.port = own


def _requests(running: MeasuredPlatform, owner: Owner, bare_port: int) -> dict[str, Request]:
    base = f"http://127.0.0.1:{running.port}"
    key = {"X-API-KEY": owner.api_key}
    token = running.call(
        "POST", "/v1/auth/fetch-command-exchange-token/", {"user_uuid": owner.user_uuid}, headers=key
    ).json["token"]
    headers = (f"X-API-KEY: {owner.api_key}", f"X-EXCHANGE-TOKEN: {token}", "Content-Type: application/json")
    for number in range(100):
        body = {"op": "set", "params": {"key": f"key-{number}", "value": {"text": "x" * 100, "number": number}}}
        running.call("POST", "/v1/platform/storage/", body, headers=key | {"X-EXCHANGE-TOKEN": token})

    def post(path: str, *bodies: Any) -> Request:
        return Request(f"{base}{path}", headers, tuple(json.dumps(body).encode() for body in bodies))

    value = {"text": "x" * 100, "number": 1}
    return {
        "yardstick: bare view": Request(f"http://127.0.0.1:{bare_port}/bare"),
        "yardstick: bare view with one SELECT": Request(f"http://127.0.0.1:{bare_port}/select"),
        "GET /healthz": Request(f"{base}/healthz"),
        "storage get": post(
            "/v1/platform/storage/",
            *({"op": "get", "params": {"key": f"key-{number}"}} for number in range(100)),
        ),
        "storage set": post(
            "/v1/platform/storage/",
            *({"op": "set", "params": {"key": f"set-{number}", "value": value}} for number in range(_KEYS)),
        ),
        "activity post": post(
            "/v1/platform/activity/", {"category": "forms", "action": "opened", "label": "a form", "metadata": value}
        ),
        "scheduling create": post(
            "/v1/platform/scheduling/", {"name": "benchmark", "cron": "0 9 * * MON", "payload": value}
        ),
    }


def _check(name: str, load: LoadResult) -> None:
    bad = {status: count for status, count in load.statuses.items() if not 200 <= status < 300}
    if bad or not load.statuses:
        raise BenchmarkError(f"{name} was answered with {load.statuses}.")
