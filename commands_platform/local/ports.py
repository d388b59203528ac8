"""Finds free TCP ports on this machine, and the processes that listen on others."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import psutil

# Linux and macOS give higher ports to outgoing connections, so these are likely to be free next time too.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Returns a loopback port that nobody listens on at this moment."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def describe_listener(port: int) -> str | None:
    """Describes the process that listens on a port. Returns None if this account may not see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and getattr(connection.laddr, "port", None) == port
                and connection.pid
            ):
                return f"process {connection.pid}, {psutil.Process(connection.pid).name()}"
    except psutil.Error:
        return None
    return None
