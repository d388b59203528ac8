"""Puts a load on an HTTP server from another process, by keep-alive connections with one request in flight each."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any

import pycurl

from benchmarks.support.results import percentile


@dataclass(frozen=True)
class Request:
    """A request that is repeated. Connections take the bodies in turn. Without any body it is a GET."""

    url: str
    headers: tuple[str, ...] = ()
    bodies: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class LoadResult:
    """The outcome of a load, with latencies in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    cpu_seconds: float


def put_load(request: Request, *, connections: int, seconds: float) -> LoadResult:
    """Sends requests for `seconds` seconds, after a warm-up of a fifth of that time."""
    context = multiprocessing.get_context("spawn")
    results: Queue[tuple[Any, ...]] = context.Queue()
    worker = context.Process(target=_load, args=(request, connections, seconds, results))
    worker.start()
    took, latencies, statuses, cpu = results.get(timeout=seconds * 3 + 60)
    worker.join()
    return LoadResult(
        rate=round(len(latencies) / took, 1),
        p50_ms=round(percentile(latencies, 50) * 1000, 2),
        p99_ms=round(percentile(latencies, 99) * 1000, 2),
        statuses=statuses,
        cpu_seconds=round(cpu, 2),
    )


def _load(request: Request, connections: int, seconds: float, results: Queue[tuple[Any, ...]]) -> None:
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, connections)
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    asked = 0

    def ask(curl: Any) -> None:
        nonlocal asked
        if request.bodies:
            curl.setopt(pycurl.POSTFIELDS, request.bodies[asked % len(request.bodies)])
        asked += 1
        multi.add_handle(curl)

    handles = []
    for _ in range(connections):
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HTTPHEADER, [*request.headers, "Expect:"])
        curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        handles.append(curl)
        ask(curl)
    cpu = time.process_time()
    counts_from = time.monotonic() + seconds / 5
    ends = counts_from + seconds
    while (now := time.monotonic()) < ends:
        while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        more = 1
        while more:
            more, succeeded, failed = multi.info_read()
            for curl in [*succeeded, *(each[0] for each in failed)]:
                if now >= counts_from:
                    statuses[int(curl.getinfo(pycurl.RESPONSE_CODE))] += 1
                    latencies.append(curl.getinfo(pycurl.TOTAL_TIME))
                multi.remove_handle(curl)
                ask(curl)
        multi.select(0.05)
    results.put((time.monotonic() - counts_from, latencies, dict(statuses), time.process_time() - cpu))
