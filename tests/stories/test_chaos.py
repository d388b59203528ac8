"""No slot is lost or fires twice, whatever happens to workers, servers, clocks and locks under load."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.chaos.plan import SHORT_PLAN
from harness.chaos.run import run_chaos


@pytest.mark.xdist_group("stories")
@pytest.mark.timeout(240)
def test_chaos_loses_no_slot_and_fires_no_slot_twice() -> None:
    plan = replace(SHORT_PLAN, seed=random.SystemRandom().randrange(10_000))

    report = run_chaos(plan)

    story = f"python -m benchmarks chaos --quick --seed {plan.seed}: {report.as_json()}\n{report.log[-5000:]}"
    assert report.is_good, story
    assert report.verdict.slots == plan.rate * (plan.seconds + 8), story
    assert sum(report.faults.values()) >= 8, story
