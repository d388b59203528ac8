"""The process of the receiver: an epoll loop that reads whole requests and answers 204, as cheaply as Python can.

It listens on several loopback ports. Some of them never answer, and some send one byte a second. On the others it also
does not answer requests for paths that begin with /hanging. Its parent sends commands over stdin, one a line,
and it ends when its parent ends.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from enum import StrEnum

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id:[ \t]*(\S+)", re.IGNORECASE)
_DUE = b'"due_at":"'
_READ_AT_ONCE = 1 << 18
_HANGING_PATH = b"POST /hanging"
# A trickling port sends a byte of it each second, so a request ends with its timeout.
_TRICKLE = b"HTTP/1.1 204 No Content\r\nX-Slow: " + b"x" * 1000


class Mode(StrEnum):
    """The behaviour of a port."""

    ANSWERING = "answering"
    HANGING = "hanging"
    TRICKLING = "trickling"


class Sink:
    """Counts requests. Depending on `keep`, it also keeps the time, the due time and the webhook-id of each."""

    def __init__(self, *, keep: str, delay: float, failing: int = 0) -> None:
        self._epoll = select.epoll()
        self._keep = keep
        self._delay = delay
        # One in this many requests fails; 0: none.
        self._failing = failing
        self._listeners: dict[int, tuple[socket.socket, Mode]] = {}
        self._connections: dict[int, tuple[socket.socket, Mode]] = {}
        # How much of the answer each trickling connection has got.
        self._trickled: dict[int, int] = {}
        self._next_trickle = 0.0
        self._unread: dict[int, bytes] = {}
        self._owed: deque[tuple[float, int, socket.socket, bytes]] = deque()
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.hanging_count = 0
        self.first = self.last = 0.0
        self.sample = b""
        self.kept: list[tuple[float, bytes, bytes]] = []

    def listen(self, mode: Mode) -> int:
        """Listens on a new port and returns it."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = (listener, mode)
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        return int(listener.getsockname()[1])

    def serve(self) -> None:
        """Serves until the parent ends it, or has ended itself."""
        commands = sys.stdin.fileno()
        self._epoll.register(commands, select.EPOLLIN)
        while True:
            patience = max(0.0, self._owed[0][0] - time.monotonic()) if self._owed else 0.1 if self._trickled else -1
            for number, _ in self._epoll.poll(patience, 1024):
                if number in self._connections:
                    self._read(number)
                elif number in self._listeners:
                    self._accept(number)
                elif not self._obey(sys.stdin.readline()):
                    return
            while self._owed and self._owed[0][0] <= time.monotonic():
                _, number, connection, answer = self._owed.popleft()
                self._send(number, connection, answer)
            if self._trickled and time.monotonic() >= self._next_trickle:
                self._next_trickle = time.monotonic() + 1
                self._trickle()

    def _trickle(self) -> None:
        for number, sent in list(self._trickled.items()):
            self._trickled[number] = sent + 1
            self._send(number, self._connections[number][0], _TRICKLE[sent : sent + 1])

    def _accept(self, number: int) -> None:
        listener, mode = self._listeners[number]
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[connection.fileno()] = (connection, mode)
                self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, number: int) -> None:
        connection, mode = self._connections[number]
        try:
            data = connection.recv(_READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(number)
            return
        held = self._unread.pop(number, b"") + data
        begin = requests = 0
        while (head := held.find(b"\r\n\r\n", begin)) >= 0:
            length = _LENGTH.search(held, begin, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(held) < end:
                break
            if mode == Mode.ANSWERING and not held.startswith(_HANGING_PATH, begin):
                requests += 1
                self._note(held, begin, end)
            else:
                self.hanging_count += 1
                if mode == Mode.TRICKLING:
                    self._trickled[number] = 0
            begin = end
        if begin < len(held):
            self._unread[number] = held[begin:]
        if requests and self._delay:
            self._owed.append((time.monotonic() + self._delay, number, connection, self._answers(requests)))
        elif requests:
            self._send(number, connection, self._answers(requests))

    def _answers(self, requests: int) -> bytes:
        if self._failing and self.count % self._failing < requests:
            return _FAILURE + _ANSWER * (requests - 1)
        return _ANSWER * requests

    def _note(self, held: bytes, begin: int, end: int) -> None:
        self.last = time.time()
        if not self.count:
            self.first = self.last
            self.sample = held[begin:end]
        self.count += 1
        if self._keep == "none":
            return
        due = held.rfind(_DUE, begin, end)
        text = held[due + len(_DUE) : held.index(b'"', due + len(_DUE))] if due >= 0 else b""
        found = _ID.search(held, begin, end) if self._keep == "ids" else None
        self.kept.append((self.last, text, found[1] if found else b""))

    def _send(self, number: int, connection: socket.socket, answer: bytes) -> None:
        try:
            connection.send(answer)
        except OSError:
            if self._connections.get(number, (None,))[0] is connection:
                self._close(number)

    def _close(self, number: int) -> None:
        connection, _ = self._connections.pop(number)
        self._unread.pop(number, None)
        self._trickled.pop(number, None)
        with suppress(OSError):
            self._epoll.unregister(number)
        connection.close()

    def _obey(self, line: str) -> bool:
        command = line.strip()
        if command == "stats":
            self._tell(
                {"count": self.count, "hanging_count": self.hanging_count, "first": self.first, "last": self.last}
            )
        elif command == "arrivals":
            self._tell([[at, due.decode(), id_.decode()] for at, due, id_ in self.kept])
        elif command == "sample":
            self._tell(self.sample.decode("latin-1"))
        elif command == "reset":
            self.reset()
            self._tell(None)
        else:
            return False
        return True

    def _tell(self, answer: object) -> None:
        print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answering", type=int, default=1, help="Ports that answer.")
    parser.add_argument("--hanging", type=int, default=0, help="Ports that never do.")
    parser.add_argument("--trickling", type=int, default=0, help="Ports that send one byte a second.")
    parser.add_argument("--keep", choices=("none", "due", "ids"), default="due")
    parser.add_argument("--failing", type=int, default=0, help="One in this many requests fails.")
    parser.add_argument("--delay", type=float, default=0.0, help="Seconds before each answer.")
    options = parser.parse_args()
    sink = Sink(keep=options.keep, delay=options.delay, failing=options.failing)
    ports = {
        mode.value: [sink.listen(mode) for _ in range(count)]
        for mode, count in (
            (Mode.ANSWERING, options.answering),
            (Mode.HANGING, options.hanging),
            (Mode.TRICKLING, options.trickling),
        )
    }
    print(json.dumps(ports), flush=True)
    sink.serve()


if __name__ == "__main__":
    main()
