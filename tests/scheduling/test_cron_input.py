"""The forms of `cron` that set other fields: a zone prefix and a period."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scheduling.cron_grammar import join_expressions
from scheduling.cron_input import CronInput, read_cron
from scheduling.errors import InvalidCronError


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("@every 5m", timedelta(minutes=5)),
        ("@every 1h30m", timedelta(minutes=90)),
        ("@every 90s", timedelta(seconds=90)),
        ("  @EVERY\t36h ", timedelta(hours=36)),
        ("@every 1.5h", timedelta(minutes=90)),
        ("@every 1h0.5m30s", timedelta(hours=1, minutes=1)),
        ("@every 1500ms500000us", timedelta(seconds=2)),
        ("@every 87672h", timedelta(days=3653)),
        ("@every 5m\n", timedelta(minutes=5)),
    ],
)
def test_every_sets_a_period(text: str, period: timedelta) -> None:
    assert read_cron(text) == CronInput("", None, period)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@every", "Character 1: @every needs one duration, like '@every 1h30m'."),
        ("@every 5m 3m", "Character 11: @every needs one duration"),
        ("@every 5", "Character 8: '5' is not a duration like 5m, 90s or 1h30m; its units are h, m and s."),
        ("@every 5M", "'5M' is not a duration"),
        ("@every 1d", "'1d' is not a duration"),
        ("@every -5m", "'-5m' is not a duration"),
        ("@every 5m!", "'5m!' is not a duration"),
        ("@every 1e3s", "'1e3s' is not a duration"),
        ("@every 0s", "a period is a whole number of seconds, at least 1."),
        ("@every 500ms", "a period is a whole number of seconds, at least 1."),
        ("@every 1.5s", "a period is a whole number of seconds, at least 1."),
        ("@every 87673h", "the period may be ten years at most."),
        ("@every " + "9" * 240 + "h", "the period may be ten years at most."),
        ("TZ=UTC @every 5m", "Character 1: a period is the same in every time zone. Leave out the TZ= prefix."),
        ("@every 5m\x00", "character U+0000 is not allowed"),
    ],
)
def test_an_invalid_period_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidCronError) as caught:
        read_cron(text)
    assert reason.lower() in caught.value.message.lower()


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("", None),
        ("0 9 * * *", None),
        ("@every_day", None),
        ("TZ=Europe/Berlin 0 9 * * *", "Europe/Berlin"),
        ("CRON_TZ=europe/berlin 0 9 * * *", "Europe/Berlin"),
        ("tz=UTC\t@daily", "UTC"),
        (join_expressions(["TZ=Asia/Tokyo 0 9 * * *", "CRON_TZ=asia/tokyo 0 17 * * *"]), "Asia/Tokyo"),
    ],
)
def test_a_prefix_sets_the_zone(text: str, zone: str | None) -> None:
    assert read_cron(text) == CronInput(text, zone, None)


@pytest.mark.parametrize("second", ["0 17 * * *", "TZ=Asia/Seoul 0 17 * * *"])
def test_several_expressions_have_one_zone(second: str) -> None:
    with pytest.raises(InvalidCronError, match="Expression 2, character 1: all expressions need the same TZ= prefix"):
        read_cron(join_expressions(["TZ=Asia/Tokyo 0 9 * * *", second]))


def test_the_expression_with_the_unknown_zone_is_named() -> None:
    with pytest.raises(InvalidCronError, match="Expression 2, character 4: 'Mars/Olympus' is not a time zone"):
        read_cron(join_expressions(["TZ=UTC 0 9 * * *", "TZ=Mars/Olympus 0 9 * * *"]))
