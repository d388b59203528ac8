"""The rotation of a command's static signature, as its receiver sees it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries import queue
from deliveries.callback import build_request
from deliveries.masking import shown_attempts
from organizations.models import Command
from organizations.services import rotate_static_signature
from tests.factories import make_attempt, make_command, make_delivery

pytestmark = pytest.mark.django_db


def sent(command: Command) -> dict[str, str]:
    """Returns the static signatures in the headers of a callback that is sent now."""
    make_delivery(command)
    (claim,) = queue.claim(limit=1, lease=timedelta(seconds=60))
    headers = (str(header).partition(": ") for header in build_request(claim, now=clock.now()).headers)
    return {name: value for name, _, value in headers if name.startswith("X-DailyBot-Signature")}


def test_before_a_rotation_one_signature_is_sent() -> None:
    command = make_command()

    assert sent(command) == {"X-DailyBot-Signature": command.signature}


def test_during_the_overlap_both_signatures_are_sent() -> None:
    old = make_command()

    new = rotate_static_signature(command=old)

    assert new.signature != old.signature
    assert sent(new) == {"X-DailyBot-Signature": old.signature, "X-DailyBot-Signature-Next": new.signature}


def test_after_the_overlap_only_the_new_signature_is_sent() -> None:
    new = rotate_static_signature(command=make_command())
    Command.objects.update(previous_signature_expires_at=clock.now() - timedelta(seconds=1))

    assert sent(new) == {"X-DailyBot-Signature": new.signature}


def test_without_an_overlap_a_leaked_signature_is_no_longer_sent() -> None:
    new = rotate_static_signature(command=make_command(), overlap=timedelta())

    assert sent(new) == {"X-DailyBot-Signature": new.signature}
    assert new.previous_signature == ""


def test_a_second_rotation_drops_the_signature_before_the_first() -> None:
    leaked = make_command()
    first = rotate_static_signature(command=leaked)

    second = rotate_static_signature(command=first)

    assert sent(second) == {"X-DailyBot-Signature": first.signature, "X-DailyBot-Signature-Next": second.signature}


def test_signatures_that_a_receiver_sends_back_are_not_shown() -> None:
    new = rotate_static_signature(command=make_command())
    delivery = make_delivery(new, attempts=[make_attempt(response=f"{new.signature} {new.previous_signature} end")])

    assert shown_attempts(delivery)[0].response == "[removed] [removed] end"
