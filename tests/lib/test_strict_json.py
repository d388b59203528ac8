from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands_platform.lib.json.strict_json import JsonValue, MalformedJsonError, PayloadTooLargeError, dumps, loads
from tests.lib.hostile import MALFORMED_BODIES, MEBIBYTE, ODD_BODIES, OVERSIZED_BODIES


def read(raw: bytes | str, *, max_bytes: int = MEBIBYTE, max_depth: int = 64) -> JsonValue:
    return loads(raw.encode() if isinstance(raw, str) else raw, max_bytes=max_bytes, max_depth=max_depth)


def refusal(raw: bytes | str) -> MalformedJsonError:
    with pytest.raises(MalformedJsonError) as caught:
        read(raw)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        ("null", None),
        (' {"a": [1, 2.5, true, false, null, "x"]} \n', {"a": [1, 2.5, True, False, None, "x"]}),
        ('"\\ud83d\\ude00"', "😀"),
        ('"é\\u00e9"', "éé"),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ('["1844674407370955161600000"]', ["1844674407370955161600000"]),
        ("[1.8446744073709551616e19]", [2.0**64]),
        ("[0.1234567890123456789012]", [0.12345678901234568]),
        ("[1e-1234567890123456789]", [0.0]),
        ('["\\\\u0000"]', ["\\u0000"]),
        ('["\\\\\\\\u0000"]', ["\\\\u0000"]),
        ('{"a": "x:y:z", "b": "\\":"}', {"a": "x:y:z", "b": '":'}),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
        ('{"a": 1, "A": 2, "á": 3, "a\u0301": 4}', {"a": 1, "A": 2, "á": 3, "a\u0301": 4}),
    ],
)
def test_ordinary_json_is_read(text: str, value: JsonValue) -> None:
    assert read(text) == value


def test_the_order_of_keys_is_kept() -> None:
    value = read('{"b": 1, "a": 2, "c": 3}')

    assert isinstance(value, dict)
    assert list(value) == ["b", "a", "c"]


@pytest.mark.parametrize("name", MALFORMED_BODIES)
def test_a_hostile_body_is_refused_with_a_reason(name: str) -> None:
    assert refusal(MALFORMED_BODIES[name]).reason


@pytest.mark.parametrize("name", OVERSIZED_BODIES)
def test_a_body_over_the_limit_is_refused_unread(name: str) -> None:
    with pytest.raises(PayloadTooLargeError, match="1048576 bytes"):
        read(OVERSIZED_BODIES[name])


@pytest.mark.parametrize("name", ODD_BODIES)
def test_an_odd_but_valid_body_is_read(name: str) -> None:
    assert dumps(read(ODD_BODIES[name]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The body is empty"),
        ('{"a": 1,}', "Trailing comma is not allowed: line 1 column 8"),
        ('{\n  "a": b\n}', "Unexpected character, expected a JSON value: line 2 column 8"),
        ('{"é": b}', "Unexpected character, expected a JSON value: line 1 column 7"),
        ('{"a": 1, "a": 2}', 'The key "a" appears twice in one object'),
        ('{"b": "1:2", "a": {"é": 1, "é": 2}}', 'The key "é" appears twice in one object'),
        ('{"' + "k" * 60 + '": 1, "' + "k" * 60 + '": 2}', f'The key "{"k" * 50}…" appears twice in one object'),
        ('{\n"é": "\\u0000"}', "A string contains the NUL character, which is not accepted: line 2 column 7"),
        (
            '["99999999999999999999", 99999999999999999999]',
            "An integer must lie between -9223372036854775808 and 18446744073709551615: line 1 column 26",
        ),
        ("1e999", "The number is too large: line 1 column 1"),
        ('"\\ud800"', "The string contains half of a surrogate pair: line 1 column 2"),
        ("[" * 65 + "]" * 65, "The JSON is nested more than 64 levels deep"),
        ("[" * 5000, "The JSON is nested too deeply: line 1 column 1026"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(text: str, message: str) -> None:
    assert str(refusal(text)) == message


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xef\xbb\xbf{}", "The body must be UTF-8 without a byte order mark"),
        ("{}".encode("utf-16"), "The body must be UTF-8 without a byte order mark"),
        ("{}".encode("utf-16-le"), "The body contains a NUL byte, so it is not JSON in UTF-8"),
        (b'{"a": "\xff"}', "The body is not valid UTF-8"),
    ],
)
def test_an_error_names_the_encoding_of_a_body_that_is_not_utf_8(raw: bytes, reason: str) -> None:
    assert refusal(raw).reason == reason


def test_depth_counts_arrays_and_objects_but_no_brackets_inside_strings() -> None:
    deepest = '[{"a": ' * 32 + '"' + "[{" * 100 + '"' + "}]" * 32

    read(deepest)

    assert "64 levels" in refusal(f"[{deepest}]").reason


def test_the_caller_sets_the_depth_limit() -> None:
    read("[[1]]", max_depth=2)

    with pytest.raises(MalformedJsonError):
        read("[[[1]]]", max_depth=2)


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert read('"abc"', max_bytes=5) == "abc"


def test_deep_nesting_does_not_exhaust_an_almost_full_stack() -> None:
    def at_the_bottom(frames: int) -> None:
        if frames:
            at_the_bottom(frames - 1)
        else:
            refusal("[" * 100_000)
            refusal(b"[" * 500 + b"]" * 500)
            read("[" * 64 + "]" * 64)

    depth_now = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frame, depth_now = frame.f_back, depth_now + 1

    at_the_bottom(sys.getrecursionlimit() - depth_now - 80)


def test_values_are_written_compactly_with_keys_in_order() -> None:
    assert dumps({"b": [1, 2.5, None, True], "a": "é😀"}) == '{"b":[1,2.5,null,true],"a":"é😀"}'.encode()


def test_a_value_without_a_json_form_is_not_written() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(characters), children, max_size=4),
)


@given(values)
def test_every_json_value_can_be_written_and_read_back(value: Any) -> None:
    assert read(dumps(value)) == value


@given(values, st.sampled_from([None, 1, 3]))
def test_json_written_by_the_standard_library_can_be_read(value: Any, indent: int | None) -> None:
    assert read(json.dumps(value, indent=indent)) == value


class RefusedError(Exception):
    pass


def oracle(text: str) -> Any:
    """Decodes short text with the standard library, plus an explicit check for each of our refusals."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise RefusedError
        return dict(pairs)

    def integer(digits: str) -> int:
        if not -(2**63) <= int(digits) < 2**64:
            raise RefusedError
        return int(digits)

    def floating(digits: str) -> float:
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            raise RefusedError
        return number

    def constant(_: str) -> None:
        raise RefusedError

    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_int=integer, parse_float=floating, parse_constant=constant
        )
    except (ValueError, RefusedError):
        return RefusedError
    written = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in json.dumps(value).replace("\\\\", "") or any("\ud800" <= char <= "\udfff" for char in written):
        return RefusedError
    return value


tokens = st.sampled_from(
    [
        *'{}[]:,"\\ ',
        *("1", "-", "0", ".5", "e5", "E-999", "e999", "18446744073709551615", "18446744073709551616"),
        *("-9223372036854775808", "-9223372036854775809", "1234567890123456789012345", "null", "true", "NaN"),
        *('"a"', '"b":', '"a":', '"\\u0061":', '"a:b"', '"\\u0000"', '"\\\\u0000"', '"\\ud83d\\ude00"', '"\\ud800"'),
        *('{"a":1}', '{"a":1,"a":2}', '{"a":{"a":[]},"b":"{:,"}', "[1,", "]]", '{"x":'),
    ]
)


@given(st.lists(tokens, max_size=12).map("".join))
def test_text_is_accepted_or_refused_exactly_as_the_rules_say(text: str) -> None:
    expected = oracle(text)

    try:
        found: Any = read(text)
    except MalformedJsonError:
        found = RefusedError

    assert found == expected


@given(st.binary(max_size=40))
def test_any_bytes_raise_only_the_two_documented_errors(raw: bytes) -> None:
    with suppress(MalformedJsonError, PayloadTooLargeError):
        read(raw, max_bytes=30)
