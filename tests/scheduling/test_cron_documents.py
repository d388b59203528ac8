"""The table of cron expressions in docs/api.md agrees with the grammar."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from itertools import islice

import pytest

from scheduling.cron_fields import SIX_FIELDS
from scheduling.cron_grammar import join_expressions
from scheduling.cron_input import read_cron
from scheduling.recurrence import Recurrence, slots
from tests.production_files import ROOT

_SECTION = re.compile(r"\n### Cron expressions\n(.*?)\n### ", re.DOTALL)
_ROW = re.compile(r"\| (.+) \| `(.+)` \| (\d.+) \|")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
# The schedule in the other examples of the page.
SCHEDULE = "c96d31b0-6930-4861-b0a2-3687ed36c0eb"


def documented() -> list[tuple[str, list[str]]]:
    """Returns the examples of the table with their runs."""
    section = _SECTION.search((ROOT / "docs" / "api.md").read_text())
    assert section is not None
    return [(example, runs.split(", ")) for _, example, runs in _ROW.findall(section[1])]


def test_the_table_has_a_row_for_each_form() -> None:
    assert len(documented()) >= 17


@pytest.mark.parametrize(("example", "runs"), documented(), ids=[example for example, _ in documented()])
def test_a_documented_expression_runs_at_the_documented_times(example: str, runs: list[str]) -> None:
    expressions = json.loads(example) if example.startswith("[") else [example]
    given = read_cron(join_expressions(expressions))
    has_seconds = given.zone is None and len(expressions[0].split()) == len(SIX_FIELDS)
    recurrence = Recurrence(
        zone=given.zone or "UTC",
        anchor=NEW_YEAR,
        cron=given.cron,
        period=given.period,
        cron_seconds=has_seconds,
        seed=SCHEDULE,
    )
    written = "%m-%d %H:%M:%S" if has_seconds else "%m-%d %H:%M"
    assert [f"{slot:{written}}" for slot in islice(slots(recurrence, after=NEW_YEAR), len(runs))] == runs
