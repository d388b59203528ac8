"""Rows of raw statements get their columns by name."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from commands_platform.lib.database.statements import UnexpectedColumnsError, rows_as

pytestmark = pytest.mark.django_db


class _Pair(NamedTuple):
    left: int
    right: str


def test_a_row_has_its_columns_by_name() -> None:
    assert rows_as(_Pair, "SELECT %(left)s::int AS left, 'b' AS right", {"left": 1}) == [_Pair(left=1, right="b")]


def test_columns_in_another_order_still_fill_their_fields() -> None:
    statement = "SELECT 'b' AS right, 1 AS left UNION ALL SELECT 'd', 2"

    for _ in range(2):
        assert rows_as(_Pair, statement, {}) == [_Pair(left=1, right="b"), _Pair(left=2, right="d")]


@pytest.mark.parametrize(
    "columns",
    [
        "1 AS left",
        "1 AS left, 'b' AS right, 3 AS more",
        "1 AS left, 'b' AS write",
        "1 AS left, 1 AS left, 'b' AS right",
    ],
)
def test_columns_that_do_not_match_the_fields_are_an_error(columns: str) -> None:
    with pytest.raises(UnexpectedColumnsError, match="_Pair"):
        rows_as(_Pair, f"SELECT {columns}", {})


def test_a_statement_without_rows_is_checked_too() -> None:
    with pytest.raises(UnexpectedColumnsError):
        rows_as(_Pair, "SELECT 1 AS left WHERE false", {})
