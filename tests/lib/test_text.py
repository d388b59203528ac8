from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.text import has_control_characters, normalise


def test_two_spellings_of_a_letter_become_one() -> None:
    assert normalise("cafe\u0301") == normalise("caf\u00e9") == "caf\u00e9"


@given(st.text(max_size=30))
def test_normal_text_stays_as_it_is(text: str) -> None:
    normal = normalise(text)

    assert normal == unicodedata.normalize("NFC", text)
    assert normalise(normal) == normal


@pytest.mark.parametrize("marks", ["\u0301" * 31, "\u0301\u0323" * 100_000])
def test_more_combining_marks_than_a_language_needs_are_refused(marks: str) -> None:
    with pytest.raises(InvalidInputError, match="30 combining marks"):
        normalise("a" + marks)


def test_long_text_with_marks_on_many_letters_is_normalised() -> None:
    assert normalise("e\u0301" * 1000) == "\u00e9" * 1000


@pytest.mark.parametrize("text", ["", "a b", "naïve 😀", "日本語", "a\u0301", "x\u00a0y", "\ue000"])
def test_visible_text_has_no_control_characters(text: str) -> None:
    assert not has_control_characters(text)


@pytest.mark.parametrize(
    "character",
    ["\0", "\n", "\t", "\x7f", "\x85", "\u00ad", "\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\U000e0041"],
)
def test_control_and_format_characters_are_found_anywhere(character: str) -> None:
    assert has_control_characters(character)
    assert has_control_characters(f"a{character}b")
