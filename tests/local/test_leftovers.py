from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from commands_platform.local import launch, leftovers
from commands_platform.local.directory import STARTED_BY_UP


def test_the_children_of_an_earlier_run_are_found_by_their_directory(tmp_path: Path) -> None:
    marked = dict(os.environ) | {STARTED_BY_UP: str(tmp_path)}
    with (
        launch.start(["sleep", "60"], death_signal=signal.SIGKILL, env=marked) as ours,
        launch.start(["sleep", "60"], death_signal=signal.SIGKILL) as another,
    ):
        while "sleep" not in (psutil.Process(ours.pid).name(), psutil.Process(another.pid).name()):
            time.sleep(0.01)
        found = leftovers.children_of_up(tmp_path)
        leftovers.end(found, first=signal.SIGTERM, patience=5)

        ended = ours.wait(5)
        untouched = another.poll() is None
        another.kill()

    assert [process.pid for process in found] == [ours.pid]
    assert ended == -signal.SIGTERM
    assert untouched
