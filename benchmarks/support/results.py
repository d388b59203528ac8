"""Prints results: JSON lines on stdout, and tables for people on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

_started_with_load = os.getloadavg()


def emit(benchmark: str, /, **values: Any) -> None:
    """Prints one result with its time, the number of cores, and the load of the machine."""
    result = {
        "benchmark": benchmark,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        # The load average of the minute before the benchmark began shows the work of others.
        "load_before": round(_started_with_load[0], 2),
        **values,
    }
    print(json.dumps(result), flush=True)


def table(title: str, rows: Iterable[Sequence[Any]]) -> None:
    """Prints a title and aligned rows to stderr."""
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    print(f"\n{title}", file=sys.stderr)
    for row in cells:
        line = "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print(f"  {line}", file=sys.stderr)


def progress(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the nearest-rank percentile of values in any order, or 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """Returns p50, p95, p99 and the maximum in milliseconds. The values are in seconds."""
    found = {f"p{percent}_ms": percentile(values, percent) for percent in (50, 95, 99)}
    found["max_ms"] = max(values, default=0.0)
    return {name: round(value * 1000, 1) for name, value in found.items()}


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
