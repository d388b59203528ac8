from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.text import normalize, refusal_of


def test_two_encodings_of_a_letter_become_one() -> None:
    assert normalize("cafe\u0301") == normalize("caf\u00e9") == "caf\u00e9"


@given(st.text(max_size=30))
def test_normalized_text_is_not_changed_again(text: str) -> None:
    normal = normalize(text)

    assert normal == unicodedata.normalize("NFC", text)
    assert normalize(normal) == normal


@pytest.mark.parametrize("marks", ["\u0301" * 31, "\u0301\u0323" * 100_000])
def test_too_many_combining_marks_are_refused(marks: str) -> None:
    with pytest.raises(InvalidInputError, match="30 combining marks"):
        normalize("a" + marks)


def test_long_text_with_marks_on_many_letters_is_normalized() -> None:
    assert normalize("e\u0301" * 1000) == "\u00e9" * 1000


FLAG_OF_SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "na\u00efve \U0001f600",
        "\u65e5\u672c\u8a9e",
        "a\u0301",
        "x\u00a0y",
        "\ue000",
        "\U0001f469\u200d\U0001f4bb",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u2764\ufe0f",
        FLAG_OF_SCOTLAND,
        "\u05e9\u05dc\u05d5\u05dd\u200f!",
        "a\u200eb",
        "a\u061cb",
        "co\u00adoperate",
    ],
)
def test_text_of_any_language_is_accepted(text: str) -> None:
    assert refusal_of(text) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("\0", "Character 1 is U+0000 NULL,"),
        ("a\nb", "Character 2 is U+000A LINE FEED,"),
        ("ab\t", "Character 3 is U+0009 CHARACTER TABULATION,"),
        ("\x1b[0m", "Character 1 is U+001B ESCAPE,"),
        ("\x7f", "Character 1 is U+007F DELETE,"),
        ("a\x85", "Character 2 is U+0085 NEXT LINE,"),
        ("\U0001f469\u200d\U0001f4bb\u202e", "Character 4 is U+202E RIGHT-TO-LEFT OVERRIDE,"),
        ("a\u202a\u2066", "Character 2 is U+202A LEFT-TO-RIGHT EMBEDDING,"),
        ("\u2069", "Character 1 is U+2069 POP DIRECTIONAL ISOLATE,"),
        ("a\u2028b", "Character 2 is U+2028 LINE SEPARATOR,"),
        ("\u2029", "Character 1 is U+2029 PARAGRAPH SEPARATOR,"),
    ],
)
def test_a_refused_character_is_named_with_its_position(text: str, place: str) -> None:
    assert (refusal_of(text) or "").startswith(f"{place} which is not allowed.")


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)])
def test_every_refused_character_is_named_as_in_unicode(code: int) -> None:
    name = str(refusal_of(chr(code))).removeprefix(f"Character 1 is U+{code:04X} ").partition(",")[0]

    assert unicodedata.lookup(name) == chr(code)


def test_control_characters_may_be_allowed_one_by_one() -> None:
    assert refusal_of("a\tb\n", allowed="\t\n") is None
    assert str(refusal_of("a\tb\r", allowed="\t\n")).startswith("Character 4 is U+000D")
