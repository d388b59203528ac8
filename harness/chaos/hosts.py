"""Hosts that share a network and no other: network namespaces behind a bridge, which can be cut off.

The process that uses them must be in a network namespace of its own, so that nothing changes on this machine.
`enter_private_network` makes one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from commands_platform.local import launch
from harness.errors import NotPossibleHereError

CENTRE = "10.99.0.1"
NETWORK = "10.99.0.0/24"

_BRIDGE = "hosts"
_IS_PRIVATE = "COMMANDS_CHAOS_PRIVATE_NETWORK"


def enter_private_network(module: str, arguments: Sequence[str]) -> int | None:
    """Runs the module again in a network namespace of its own, and returns its exit status.

    Returns None if this process is already in one. Raises NotPossibleHereError if none can be made.
    """
    if _IS_PRIVATE in os.environ:
        return None
    as_ourselves = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    unshare = ["unshare", *as_ourselves, "--net"]
    try:
        _run(*unshare, "ip", "link", "add", _BRIDGE, "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        detail = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise NotPossibleHereError(f"No network namespaces can be made: {detail}") from error
    command = [*unshare, sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=os.environ | {_IS_PRIVATE: "yes"}, check=False).returncode


class Host:
    """A network namespace with one network card, which is plugged into the bridge."""

    def __init__(self, name: str, number: int, pid: int) -> None:
        self.name = name
        self._port = f"port-{name}"
        self._pid = pid
        _run("ip", "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _run("ip", "link", "set", self._port, "master", _BRIDGE, "up")
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "address", "add", f"10.99.0.{number}/24", "dev", "eth0")
        self._inside("ip", "link", "set", "eth0", "up")

    @property
    def prefix(self) -> list[str]:
        """The beginning of a command that runs on this host."""
        return ["nsenter", f"--net=/proc/{self._pid}/ns/net"]

    def lose_packets(self) -> Callable[[], None]:
        """Makes all packets disappear, as a broken switch would. Returns what ends it."""
        _run("ip", "link", "set", self._port, "nomaster")
        return lambda: _run("ip", "link", "set", self._port, "master", _BRIDGE)

    def pull_cable(self) -> Callable[[], None]:
        """Takes the signal away from the card. Returns what ends it."""
        _run("ip", "link", "set", self._port, "down")
        return lambda: _run("ip", "link", "set", self._port, "up")

    def switch_card_off(self) -> Callable[[], None]:
        """Switches the card off, so that there is no route to anywhere. Returns what ends it."""
        self._inside("ip", "link", "set", "eth0", "down")
        return lambda: self._inside("ip", "link", "set", "eth0", "up")

    def _inside(self, *command: str) -> None:
        _run(*self.prefix, *command)


@contextmanager
def running_hosts(*names: str) -> Iterator[dict[str, Host]]:
    """Makes hosts on one network. The servers' address there is CENTRE."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", _BRIDGE, "type", "bridge")
    _run("ip", "address", "add", f"{CENTRE}/24", "dev", _BRIDGE)
    _run("ip", "link", "set", _BRIDGE, "up")
    holders: list[subprocess.Popen[bytes]] = []
    try:
        for _ in names:
            # It says when it is in its namespace, and keeps it until its input ends.
            holder = launch.start(
                ["unshare", "--net", "sh", "-c", "echo ready; exec cat"],
                death_signal=signal.SIGKILL,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            holders.append(holder)
            assert holder.stdout is not None
            holder.stdout.readline()
        yield {
            name: Host(name, number, holder.pid)
            for number, (name, holder) in enumerate(zip(names, holders, strict=True), 2)
        }
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True, text=True)
