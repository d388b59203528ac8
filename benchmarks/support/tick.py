"""Measures a tick when nothing is due, and explains its query. It runs with the platform's settings."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import django


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=300)
    options = parser.parse_args()
    django.setup()
    from scheduling.dispatch import dispatch_due

    dispatch_due()
    seconds = []
    for _ in range(options.ticks):
        started = time.perf_counter()
        dispatch_due()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"tick_ms_median": round(median(seconds) * 1000, 3), "claim": _explain(dispatch_due)}))


def _explain(dispatch_due: Callable[[], int]) -> dict[str, Any]:
    """Returns the plan's nodes, the blocks read and the milliseconds of the statement that finds due schedules."""
    from django.db import connection

    statements: list[tuple[str, Any]] = []

    def note(execute: Callable[..., Any], statement: str, parameters: Any, many: bool, context: Any) -> Any:
        statements.append((statement, parameters))
        return execute(statement, parameters, many, context)

    with connection.execute_wrapper(note):
        dispatch_due()
    is_lock = re.compile(r"FROM scheduling_scheduledexecution.*SKIP LOCKED", re.DOTALL)
    statement, parameters = next(each for each in statements if is_lock.search(each[0]))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        [([explained],)] = cursor.fetchall()
    plan = explained["Plan"]
    return {
        "nodes": [
            f"{node['Node Type']} {node.get('Index Name', node.get('Relation Name', ''))}".strip()
            for node in _nodes(plan)
        ],
        "buffers": plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        "ms": round(explained["Execution Time"], 3),
    }


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


if __name__ == "__main__":
    main()
