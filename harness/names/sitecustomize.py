"""Replaces the lookup of names in a process of the platform. Python imports it if its directory is on PYTHONPATH.

Names under `hangs.test` behave as if their name server never answered, and names under `answers.test` lead to loopback.
The platform resolves names by `socket.getaddrinfo`, so this needs no compiler, no rights and no change of the system.
"""

from __future__ import annotations

import socket
import time
from typing import Any

# As long as glibc waits for two name servers that do not answer, with two attempts of five seconds each.
_HANGS_SECONDS = 20.0

_system_lookup = socket.getaddrinfo


def _look_up(host: Any, *arguments: Any, **options: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.endswith(".hangs.test"):
        time.sleep(_HANGS_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _system_lookup("127.0.0.1" if name.endswith(".answers.test") else host, *arguments, **options)


socket.getaddrinfo = _look_up
