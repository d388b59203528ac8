"""Callbacks that kill the deliverer that sends them. They go to a receiver of their own, which kills the sender."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psutil


class PoisonReceiver(threading.Thread):
    """Kills each deliverer that sends it a request, and notes its name in `killed`."""

    def __init__(self, deliverers: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(name="poison", daemon=True)
        self.killed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._deliverers = deliverers
        self._listening = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def run(self) -> None:
        with suppress(OSError):
            while True:
                connection, (_, port) = self._listening.accept()
                with connection, suppress(OSError):
                    if connection.recv(1):
                        self._kill_owner(port)

    def close(self) -> None:
        # Closing alone would not end `accept`.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join()

    def _kill_owner(self, port: int) -> None:
        for name, pid in self._deliverers().items():
            with suppress(psutil.NoSuchProcess):
                deliverer = psutil.Process(pid)
                if any(each.laddr.port == port for each in deliverer.net_connections("tcp") if each.laddr):
                    # Noted first, so that nobody takes it for a process that has ended by itself.
                    self.killed.put(name)
                    deliverer.kill()


@contextmanager
def poison_receiver(deliverers: Callable[[], Mapping[str, int]]) -> Iterator[PoisonReceiver]:
    receiver = PoisonReceiver(deliverers)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.close()


def take_killed(receiver: PoisonReceiver) -> list[str]:
    """Returns the names of the deliverers that were killed since the last call."""
    killed = []
    with suppress(queue.Empty):
        while True:
            killed.append(receiver.killed.get_nowait())
    return killed
