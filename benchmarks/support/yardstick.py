"""The yardstick of a burst: a bare libcurl loop that sends the same requests to the same receiver."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pycurl


@dataclass(frozen=True)
class Yardstick:
    """Requests a second over all processes, and the CPU seconds they used."""

    rate: float
    cpu_seconds: float


def measure_bare(request: bytes, *, urls: Sequence[str], count: int, window: int, processes: int) -> Yardstick:
    """POSTs copies of `request` (head and body): `count` in all, with up to `window` in flight in each process."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes + 1), context.Queue()
    load = _Load(request, tuple(urls), window)
    shares = [count // processes + (number < count % processes) for number in range(processes)]
    workers = [context.Process(target=_post_all, args=(load, share, barrier, results)) for share in shares]
    for worker in workers:
        worker.start()
    barrier.wait(timeout=60)
    started = time.monotonic()
    cpu = [results.get(timeout=120) for _ in workers]
    seconds = time.monotonic() - started
    for worker in workers:
        worker.join()
    return Yardstick(rate=count / seconds, cpu_seconds=sum(cpu))


@dataclass(frozen=True)
class _Load:
    request: bytes
    urls: tuple[str, ...]
    window: int


def _post_all(load: _Load, count: int, barrier: Barrier, results: Queue[float]) -> None:
    head, _, body = load.request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")[1:]
    headers = [line for line in lines if not line.lower().startswith((b"host:", b"content-length:"))]
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, load.window * 2)
    idle = [_handle([*headers, b"Expect:"], body) for _ in range(load.window)]
    left, in_flight = count, 0
    barrier.wait(timeout=60)
    began = time.process_time()
    while left or in_flight:
        while idle and left:
            curl = idle.pop()
            curl.setopt(pycurl.URL, load.urls[left % len(load.urls)])
            multi.add_handle(curl)
            left -= 1
            in_flight += 1
        while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        more = 1
        while more:
            more, succeeded, failed = multi.info_read()
            for curl in [*succeeded, *(each[0] for each in failed)]:
                multi.remove_handle(curl)
                idle.append(curl)
                in_flight -= 1
        if in_flight:
            multi.select(0.05)
    results.put(time.process_time() - began)


def _handle(headers: list[bytes], body: bytes) -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.POST, 1)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.HTTPHEADER, headers)
    curl.setopt(pycurl.POSTFIELDS, body)
    curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
    return curl
