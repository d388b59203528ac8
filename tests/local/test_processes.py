from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from commands_platform.local.processes import ProcessGroup, StopRequestedError, StopRequests


class Scene:
    """A process group that writes into a buffer, and the requests to stop it."""

    def __init__(self, *, patience: float = 5.0) -> None:
        self.stop = StopRequests()
        self.stop.stop_interrupting()
        self.output = io.StringIO()
        self.group = ProcessGroup(self.stop, patience=patience, output=self.output)

    def start(self, name: str, command: str) -> None:
        self.group.start(name, command, environment=dict(os.environ), directory=Path("/"))

    def stop_when_shown(self, text: str) -> str | None:
        """Serves as `find_problem`: finds no problem, and requests a stop once the text has been printed."""
        if text in self.output.getvalue():
            self.stop.note()
        return None


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.group.end()


def wait_until_ended(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def no_problem() -> str | None:
    return None


def test_each_line_is_shown_with_its_childs_name_even_if_unfinished(scene: Scene) -> None:
    scene.start("web", "echo one; printf two")

    scene.group.run(no_problem)

    shown = [line.split(" ", 1)[1] for line in scene.output.getvalue().splitlines()]
    assert shown[:2] == ["web | one", "web | two"]


def test_a_requested_stop_ends_every_child_with_status_0(scene: Scene) -> None:
    scene.start("web", "echo running; exec sleep 60")
    scene.start("beat", "exec sleep 60")

    status = scene.group.run(lambda: scene.stop_when_shown("running"))

    assert status == 0
    assert "Stopping" in scene.output.getvalue()
    assert not [child for child in psutil.Process().children() if "sleep" in child.name()]


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("exit 3", 3, "web stopped with status 3; stopping the rest"),
        ("exit 0", 1, "web stopped with status 0; stopping the rest"),
        ("kill -KILL $$", 137, "web was ended by SIGKILL; stopping the rest"),
        ("exec /no/such/program", 127, "web stopped with status 127; stopping the rest"),
    ],
)
def test_a_child_that_ends_by_itself_ends_the_rest(scene: Scene, command: str, status: int, message: str) -> None:
    scene.start("beat", "exec sleep 60")
    scene.start("web", command)

    assert scene.group.run(no_problem) == status
    assert message in scene.output.getvalue()


def test_a_problem_elsewhere_ends_every_child(scene: Scene) -> None:
    scene.start("web", "exec sleep 60")

    status = scene.group.run(lambda: "Valkey has ended")

    assert status == 1
    assert "Valkey has ended; stopping everything" in scene.output.getvalue()


def test_a_child_that_does_not_stop_in_time_is_killed_with_its_children() -> None:
    scene = Scene(patience=0.3)
    scene.start("web", "trap '' TERM; sleep 60 & echo grandchild $!; while true; do wait; done")

    scene.group.run(lambda: scene.stop_when_shown("grandchild"))

    grandchild = int(scene.output.getvalue().split("grandchild ")[1].split()[0])
    assert "Killed because they did not end in time: web" in scene.output.getvalue()
    assert wait_until_ended(grandchild)


def test_a_second_stop_request_is_obeyed_at_once() -> None:
    scene = Scene(patience=60)
    scene.start("web", "trap '' TERM; echo running; while true; do sleep 60; done")
    scene.stop.note()
    time.sleep(0.6)
    scene.stop.note()

    began = time.monotonic()
    status = scene.group.run(no_problem)

    assert status == 0
    assert time.monotonic() - began < 10


def test_a_stop_request_repeated_at_once_is_not_urgent() -> None:
    stop = StopRequests()
    stop.note()
    stop.note()

    assert stop.are_there
    assert not stop.is_urgent


def test_closing_the_output_requests_a_stop() -> None:
    read_end, write_end = os.pipe()
    stop = StopRequests()
    with os.fdopen(write_end, "w") as output:
        group = ProcessGroup(stop, output=output)
        group.start(
            "web", "while true; do echo line; sleep 0.1; done", environment=dict(os.environ), directory=Path("/")
        )
        os.close(read_end)

        status = group.run(no_problem)

    assert status == 0
    assert stop.are_there


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_stop_signal_is_one_request(signal_number: signal.Signals) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with StopRequests() as starting, pytest.raises(StopRequestedError):
            signal.raise_signal(signal_number)
        with StopRequests() as serving:
            serving.stop_interrupting()
            signal.raise_signal(signal_number)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    assert starting.are_there
    assert serving.are_there
    assert not serving.is_urgent
