"""The bad neighbours of a steady load: what another organization does in each scenario of `benchmarks fairness`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from benchmarks.support.hooks import insert_hooks
from benchmarks.support.platform import MeasuredPlatform, Owner
from benchmarks.support.receiver import Receiver
from benchmarks.support.schedules import insert_schedules, settle
from harness.names import answering_name, hanging_name

# The small form of a scenario has this part of its work.
_SMALL_PART = 40


class Receivers(NamedTuple):
    """The receiver of the steady load, and those of the other organization."""

    steady: Receiver
    others: Receiver


class Setting(NamedTuple):
    """Where and when the other organization works, and whether it does only a small part."""

    running: MeasuredPlatform
    other: Owner
    receivers: Receivers
    due: datetime
    is_small: bool

    def part_of(self, count: int) -> int:
        return max(1, count // _SMALL_PART) if self.is_small else count


_Cause = Callable[[Setting], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """The other organization's work, and how many ports of each kind its receivers have."""

    about: str
    cause: _Cause
    hanging: int = 0
    trickling: int = 0


def _schedules(count: int, urls: Callable[[Receivers], Sequence[str]], **values: Any) -> _Cause:
    def cause(setting: Setting) -> None:
        running, part = setting.running, setting.part_of(count)
        insert_schedules(running, setting.other, count=part, due=setting.due, urls=urls(setting.receivers), **values)
        if part > 50_000:
            settle(running)

    return cause


def _publish_to_many_hooks(setting: Setting) -> None:
    running, other = setting.running, setting.other
    insert_hooks(running, other, count=setting.part_of(5_000), pattern="kudos.*")
    settle(running)
    time.sleep(max(0.0, (setting.due - datetime.now(UTC)).total_seconds()))
    running.run_module("benchmarks.support.hooks", str(other.organization_id), "kudos.posted")


def _fail_before_many_hooks(setting: Setting) -> None:
    running, other = setting.running, setting.other
    insert_hooks(running, other, count=setting.part_of(500), pattern="platform.*")
    settle(running)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    urls = setting.receivers.others.hanging_urls
    insert_schedules(running, other, count=setting.part_of(200), due=due, urls=urls, timeout=1, max_attempts=1)


def _named(receivers: Receivers) -> list[str]:
    """Returns the URLs of the receivers that hang, each with a name of its own in place of the address."""
    urls = enumerate(receivers.others.hanging_urls)
    return [url.replace("127.0.0.1", answering_name(number)) for number, url in urls]


SCENARIOS = {
    "one": Scenario(
        "5,000 callbacks for one receiver that hangs",
        _schedules(5_000, lambda receivers: receivers.others.hanging_urls[:1]),
        hanging=1,
    ),
    "path": Scenario(
        "2,000 callbacks for a path that hangs, at the origin of the steady load",
        _schedules(2_000, lambda receivers: [receivers.steady.url.replace("/callback", "/hanging")]),
    ),
    "origins": Scenario(
        "3,000 callbacks for 300 ports that hang",
        _schedules(3_000, lambda receivers: receivers.others.hanging_urls),
        hanging=300,
    ),
    "hosts": Scenario("3,000 callbacks for 300 names of receivers that hang", _schedules(3_000, _named), hanging=300),
    "silent": Scenario(
        "200 callbacks for 200 receivers that hang, each with a timeout of 30 s",
        _schedules(200, lambda receivers: receivers.others.hanging_urls[:200], timeout=30),
        hanging=200,
    ),
    "trickle": Scenario(
        "500 callbacks for a receiver that answers one byte a second",
        _schedules(500, lambda receivers: receivers.others.trickling_urls),
        trickling=1,
    ),
    "names": Scenario(
        "1,000 callbacks for 100 names whose resolution hangs",
        _schedules(1_000, lambda _: [f"http://{hanging_name(number)}:8080/callback" for number in range(100)]),
    ),
    "herd": Scenario(
        "120,000 callbacks due at one instant for a receiver that answers",
        _schedules(120_000, lambda receivers: receivers.others.urls),
    ),
    "failures": Scenario("200 failed callbacks that 500 hooks hear of", _fail_before_many_hooks, hanging=20),
    "hooks": Scenario("an event that 5,000 hooks want", _publish_to_many_hooks),
}
