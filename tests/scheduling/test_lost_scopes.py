"""A command that loses a scope in an organization stops there at once, and continues when the scope is given back."""

from __future__ import annotations

from datetime import datetime

import pytest

from deliveries import queue
from deliveries.models import Reason, State
from installations import services
from scheduling.repeats import give_back_repeats
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_installation, make_organization, make_schedule
from tests.scheduling.schedules import MINUTE, NOON, URL, run, skipped

pytestmark = pytest.mark.django_db


def test_runs_are_skipped_and_spend_no_repeat_until_the_scope_is_given_back(time: list[datetime]) -> None:
    command, organization = make_command(is_public=True, callback_url=URL), make_organization()
    installation = make_installation(command, organization)
    schedule = make_schedule(
        command,
        organization=organization,
        execution_frequency=60,
        anchor_at=NOON,
        next_run_at=NOON + MINUTE,
        repeats=3,
    )
    run(time, 1)
    services.change_installation(installation=installation, scopes=["STORAGE"])
    make_sender().drain()
    run(time, 2, 3)
    assert give_back_repeats() == 1
    assert [row.state for row in schedule.slots()] == [State.SKIPPED] * 3
    assert {reason for *_, reason in skipped(schedule)} == {Reason.COMMAND_NOT_ALLOWED}

    services.change_installation(installation=installation, scopes=["SCHEDULING"])
    run(time, 4)

    assert [claim.skip for claim in queue.claim(limit=10, lease=MINUTE)] == [""]
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.repeats) == (True, 2)
