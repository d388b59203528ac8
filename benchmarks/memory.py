"""Memory: measures the memory of each process after its start and after many deliveries, and whether it grows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import psutil

from benchmarks.burst import deliver, warm_up
from benchmarks.support.platform import MeasuredPlatform, platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, progress, table

_MIB = 1024 * 1024
_PROCESSES = ("web", "beat", "dispatcher", "deliverer")


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.deliveries, options.burst = min(options.deliveries, 1000), min(options.burst, 500)
    with Receiver(keep="none") as receiver, platform(_PROCESSES) as running:
        owner = running.make_owner(receiver.url)
        running.wait_until_ready()
        warm_up(running, owner, receiver)
        samples = [(0, _memory(running))]
        for done in range(options.burst, options.deliveries + 1, options.burst):
            progress(f"{done:,} of {options.deliveries:,}")
            deliver(running, owner, receiver, count=options.burst, kind="period")
            samples.append((done, _memory(running)))
    for deliveries, parts in samples:
        emit("memory", deliveries=deliveries, parts=parts, total=_total(parts))
    # The first bursts fill pools and caches. Only what comes after them counts as growth.
    settled = samples[len(samples) // 4][1]
    last = samples[-1][1]
    growth = round(_total(last)["pss_mib"] - _total(settled)["pss_mib"], 1)
    emit("memory.summary", deliveries=samples[-1][0], total=_total(last), growth_mib=growth)
    table(
        f"MiB, after the start and after {samples[-1][0]:,} deliveries",
        [
            ("process", "RSS at start", "PSS at start", "RSS", "PSS"),
            *(
                (name, first["rss_mib"], first["pss_mib"], last[name]["rss_mib"], last[name]["pss_mib"])
                for name, first in samples[0][1].items()
            ),
            ("total", *_total(samples[0][1]).values(), *_total(last).values()),
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks memory", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=100_000)
    parser.add_argument("--burst", type=int, default=10_000, help="Deliveries between two measurements.")
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def _memory(running: MeasuredPlatform) -> dict[str, dict[str, float]]:
    """Returns the resident MiB of each process with its children.

    In PSS, each of n processes that share a page counts one nth of it.
    """
    return {name: _of_tree(running.process(name)) for name in _PROCESSES}


def _of_tree(process: psutil.Process) -> dict[str, float]:
    tree = [each.memory_full_info() for each in (process, *process.children(recursive=True))]
    return {
        "rss_mib": round(sum(each.rss for each in tree) / _MIB, 1),
        "pss_mib": round(sum(each.pss for each in tree) / _MIB, 1),
    }


def _total(parts: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(part[name] for part in parts.values()), 1) for name in ("rss_mib", "pss_mib")}
