"""Lists: measures pages, filters, searches and orders of very many schedules, and of the slots of one schedule."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.ledger_size import fill_ledger
from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import insert_schedules, settle

_LIST = "/v1/platform/scheduling/"
_STORED_AT_ONCE = 100_000
_LIMIT = 50

# A thousandth of the schedules, spread over all of them, is paused.
_PAUSE_SOME = """
UPDATE scheduling_scheduledexecution SET is_active = false, deactivation_reason = 'paused' WHERE id % 1000 = 7
"""
_GIVE_SLOTS = """
UPDATE deliveries_delivery SET source_uuid = (SELECT uuid FROM scheduling_scheduledexecution ORDER BY id LIMIT 1)
WHERE due_at < now() - interval '30 minutes'
"""


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.schedules, options.deliveries, options.rounds = 2_000, 2_000, 3
    processes = ("web", "beat", "dispatcher", "deliverer")
    with (
        Receiver() as receiver,
        platform(processes, postgres_options={"shared_buffers": options.shared_buffers}) as running,
    ):
        running.wait_until_alive()
        owner = running.make_owner(receiver.url)
        _deliver_one(running, owner)
        fill_ledger(running, options.deliveries)
        stored = _fill(running, owner, receiver.url, options)
        running.execute(_PAUSE_SOME)
        running.execute(_GIVE_SLOTS)
        running.execute("UPDATE auth_tokens_apikey SET command_id = NULL, scopes = '{SCHEDULING,MANAGE}'")
        settle(running)
        found: dict[str, list[float]] = {}
        for name, path in _paths(running, owner).items():
            progress(name)
            found[name] = _measure(running, owner, path, options.rounds)
    for name, times in found.items():
        emit("lists", list=name, schedules=stored, deliveries=options.deliveries, limit=_LIMIT, **milliseconds(times))
    table(
        f"Pages of {_LIMIT} of {stored:,} schedules, and of the {options.deliveries:,} slots of one; ms",
        [
            ("", "p50", "max"),
            *((name, milliseconds(times)["p50_ms"], milliseconds(times)["max_ms"]) for name, times in found.items()),
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks lists", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000_000)
    parser.add_argument("--deliveries", type=int, default=1_000_000, help="Slots of one schedule.")
    parser.add_argument("--rounds", type=int, default=20, help="Requests for each list.")
    parser.add_argument("--fill-seconds", type=float, default=300, help="Stop storing schedules after this time.")
    parser.add_argument("--shared-buffers", default="512MB", help="The memory of PostgreSQL's buffers.")
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def _deliver_one(running: MeasuredPlatform, owner: Owner) -> None:
    """Delivers one callback, whose row of the ledger is then copied."""
    body = {"name": "first", "command_uuid": owner.command_uuid}
    running.call("POST", _LIST, body, headers={"X-API-KEY": owner.api_key})
    delivered = "SELECT count(*) FROM deliveries_delivery WHERE state = 'delivered'"
    running.wait_for(
        lambda: running.query(delivered)[0][0] == 1, timeout=60, what="the first callback is not delivered"
    )


def _fill(running: MeasuredPlatform, owner: Owner, url: str, options: argparse.Namespace) -> int:
    """Stores the schedules, which are not due for years. Returns their number, which is smaller if time runs out."""
    due, stored, ends_at = datetime.now(UTC) + timedelta(days=2000), 0, time.monotonic() + options.fill_seconds
    while stored < options.schedules and time.monotonic() < ends_at:
        count = min(_STORED_AT_ONCE, options.schedules - stored)
        insert_schedules(running, owner, count=count, due=due, urls=[url], each_second=10)
        stored += count
        progress(f"{stored:,} schedules stored")
    return stored


def _paths(running: MeasuredPlatform, owner: Owner) -> dict[str, str]:
    """Returns the paths to measure, by what they show."""
    [(uuid,)] = running.query("SELECT uuid FROM scheduling_scheduledexecution ORDER BY id LIMIT 1")
    middle = (datetime.now(UTC) + timedelta(days=2000, seconds=5000)).isoformat().replace("+00:00", "Z")
    queries = {
        "first page": "",
        "first page, from a cursor": "cursor=",
        "offset 50,000": "offset=50000",
        "paused ones": "is_active=false",
        "active ones": "is_active=true",
        "reason": "deactivation_reason=paused,failing",
        "of the command": f"command_uuid={owner.command_uuid}",
        "next run in a span": f"next_run_after={middle}&sort=next_run_at&cursor=",
        "search, many": "q=benchmark",
        "search, one": "q=benchmark+99999",
        "search, none": "q=nothing+of+the+kind",
        "search, two letters": "q=zq",
        "sort by name": "sort=name",
        "sort by creation": "sort=created_at",
        "sort by change": "sort=-updated_at",
        "sort by next run": "sort=next_run_at",
        "sort by next run, active ones": "sort=next_run_at&is_active=true&cursor=",
    }
    paths = {name: f"{_LIST}?limit={_LIMIT}&{query}" for name, query in queries.items()}
    # With few schedules there is no such page.
    deep = _page(running, owner, paths["offset 50,000"])["next"]
    if deep:
        paths["after 50,000, from a cursor"] = deep.partition(str(running.port))[2]
    slots = f"{_LIST}{uuid}/slots/?limit={_LIMIT}"
    return {
        **paths,
        "slots, oldest": slots,
        "slots, newest": f"{slots}&order=desc",
        "slots, delivered": f"{slots}&state=delivered",
        "slots, failed": f"{slots}&state=failed",
    }


def _measure(running: MeasuredPlatform, owner: Owner, path: str, rounds: int) -> list[float]:
    """Returns the seconds that requests for this path take, one after the other."""
    _page(running, owner, path)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        _page(running, owner, path)
        times.append(time.perf_counter() - started)
    return times


def _page(running: MeasuredPlatform, owner: Owner, path: str) -> dict[str, Any]:
    reply = running.call("GET", path, headers={"X-API-KEY": owner.api_key})
    if reply.status != 200:
        raise BenchmarkError(f"{path} is answered with {reply.status}: {reply.body[:200]!r}")
    page: dict[str, Any] = json.loads(reply.body)
    return page
