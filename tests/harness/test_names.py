"""Processes of a benchmark know names whose lookup hangs."""

from __future__ import annotations

import os
import subprocess
import sys

from harness.names import answering_name, environment_with_names, hanging_name

# Looks up a name that hangs in a thread, and prints whether it still hangs after the other name has been found.
PROGRAM = """
import socket, sys, threading
hanging = threading.Thread(target=socket.getaddrinfo, args=(sys.argv[1].encode(), None), daemon=True)
hanging.start()
print(socket.getaddrinfo(sys.argv[2].encode(), None)[0][4][0], hanging.is_alive())
"""


def test_one_name_hangs_and_the_other_leads_to_loopback() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, hanging_name(1), answering_name(1)],
        env=os.environ | environment_with_names(),
        capture_output=True,
        check=True,
        text=True,
    )

    assert finished.stdout.split() == ["127.0.0.1", "True"]
