from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.matching import MAX_NAME_LENGTH, is_event_name, is_pattern, matches

NAMES = (
    "kudos",
    "_",
    "forms.response.created",
    "kudos.posted",
    "followups.response.completed",
    "organization.user_activated",
    "a" * MAX_NAME_LENGTH,
)
NOT_EVEN_PATTERNS = (
    "",
    ".",
    "*.",
    ".*",
    "a.",
    ".a",
    "a..b",
    "a.*.b",
    "*.a",
    "a*",
    "a.b*",
    "**",
    "a.**",
    "Forms.created",
    "forms-response.created",
    "forms.response1",
    "forms created",
    "forms.created\n",
    " forms.created",
    "fórms",
    "ſ",  # lower case, but not between a and z
    "a" * (MAX_NAME_LENGTH + 1),
    "a." * 127 + "ab",
)

words = st.text(alphabet="ab_", min_size=1, max_size=2)
names = st.lists(words, min_size=1, max_size=5).map(".".join)
patterns = st.one_of(names, st.just("*"), names.map(lambda name: f"{name}.*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_documented_name_is_both_a_name_and_a_pattern(name: str) -> None:
    assert is_event_name(name)
    assert is_pattern(name)


@pytest.mark.parametrize("pattern", ["*", "forms.*", "forms.response.*", "a." * 127 + "*"])
def test_a_pattern_with_a_star_is_not_a_name(pattern: str) -> None:
    assert is_pattern(pattern)
    assert not is_event_name(pattern)


@pytest.mark.parametrize("text", NOT_EVEN_PATTERNS)
def test_other_text_is_neither_name_nor_pattern(text: str) -> None:
    assert not is_event_name(text)
    assert not is_pattern(text)


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["forms.response.created"], "forms.response.created", True),
        (["forms.response.created"], "forms.response.updated", False),
        (["forms.response"], "forms.response.created", False),
        (["forms.response.created"], "forms.response", False),
        (["forms.*"], "forms.created", True),
        (["forms.*"], "forms.response.created", True),
        (["forms.*"], "forms", False),
        (["forms.*"], "formsets.created", False),
        (["forms.response.*"], "forms.created", False),
        (["*"], "forms", True),
        (["*"], "platform.delivery.failed", True),
        (["kudos.posted", "forms.*"], "forms.created", True),
        ([], "forms.created", False),
    ],
)
def test_a_star_matches_everything_below_its_place(patterns: list[str], name: str, *, expected: bool) -> None:
    assert matches(patterns, name) is expected


@given(pattern=patterns, name=names)
def test_a_pattern_matches_as_its_definition_says(pattern: str, name: str) -> None:
    words, wanted = name.split("."), pattern.split(".")
    if wanted[-1] == "*":
        expected = len(words) >= len(wanted) and words[: len(wanted) - 1] == wanted[:-1]
    else:
        expected = words == wanted

    assert matches([pattern], name) is expected


@given(several=st.lists(patterns, max_size=5), name=names)
def test_a_list_matches_if_one_of_its_patterns_does(several: list[str], name: str) -> None:
    assert matches(several, name) is any(matches([pattern], name) for pattern in several)


@given(text=st.text(alphabet=string.ascii_lowercase[:3] + "_.*A1 \n", max_size=12))
def test_every_pattern_matches_itself_or_a_name_below_it(text: str) -> None:
    if is_event_name(text):
        assert is_pattern(text)
        assert matches([text], text)
    elif is_pattern(text):
        assert matches([text], text.replace("*", "a"))
