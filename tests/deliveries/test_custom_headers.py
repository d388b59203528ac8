from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands_platform.lib.errors import InvalidInputError
from deliveries.custom_headers import MAX_HEADERS, MAX_HEADERS_BYTES, check_headers

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer abc.def=="),
        ("X-Api-Key", "k"),
        ("x-team", "Z\u00fcrich"),
        ("X-Note", "a\tb c"),
        ("!#$%&'*+-.^_`|~09aZ", "any token is a name"),
        ("Cookie", "a=b; c=d"),
        ("X-Webhook-Id", "not the reserved prefix"),
        ("Hosts", "x"),
    ],
)
def test_a_header_that_a_caller_adds_is_kept(name: str, value: str) -> None:
    assert check_headers({name: value}) == {name: value}


def test_headers_are_optional() -> None:
    assert check_headers({}) == {}


def test_spaces_around_a_value_are_removed() -> None:
    assert check_headers({"X-Note": " \t a b\t "}) == {"X-Note": "a b"}


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "HOST", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection"),
        *(
            "Proxy-Authorization",
            "Proxy-Authenticate",
            "Proxy-Authentication-Info",
            "TE",
            "Trailer",
            "Upgrade",
            "HTTP2-Settings",
            "Expect",
        ),
        *(
            "Content-Type",
            "Content-Encoding",
            "Accept-Encoding",
            "User-Agent",
            "X-DailyBot-Signature",
            "X-DailyBot-Signature-Next",
        ),
        *("X-Correlation-Id", "webhook-id", "Webhook-Signature", "webhook-timestamp", "webhook-anything"),
        *("content_length", "X_DailyBot_Signature", "webhook_signature"),
    ],
)
def test_a_header_that_the_server_sets_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        check_headers({name: SECRET})


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "X Note",
            "X-Note ",
            " X-Note",
            "X-Note:",
            "X:Note",
            "X-N\u00f6te",
            "X-Note\r\nHost",
            "X\x00",
            "X\n",
        ),
        *(":authority", "X/Y", "X(Y)", "X,Y", 'X"Y', "X@Y", "X[Y]", "X{Y}", "X\u200bY", "X\x7f", "\uff38"),
    ],
    ids=ascii,
)
def test_a_name_that_is_not_a_token_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_headers({name: SECRET})

    assert ascii(name) in caught.value.message
    assert caught.value.message.isprintable()
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        *(f"{SECRET}\r\nHost: x", f"{SECRET}\r", f"{SECRET}\n", f"\n{SECRET}", f"{SECRET}\x00", f"{SECRET}\x0b"),
        *(
            f"{SECRET}\x7f",
            f"{SECRET}\x85",
            f"{SECRET}\u2028",
            f"{SECRET}\u20ac",
            f"{SECRET}\U0001f680",
            SECRET + "\ud800",
        ),
    ],
    ids=ascii,
)
def test_a_value_that_a_header_cannot_hold_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_headers({"X-Note": value})

    assert "'X-Note'" in caught.value.message
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("abc\u20acdef", "Character 4 of the value of the header 'X-Note' is U+20AC EURO SIGN, which is not allowed."),
        (" a\r\nb", "Character 3 of the value of the header 'X-Note' is U+000D CARRIAGE RETURN, which is not allowed."),
        ("a\ud800", "Character 2 of the value of the header 'X-Note' is U+D800, which is not allowed."),
    ],
    ids=ascii,
)
def test_a_refused_value_names_the_character_and_its_place(value: str, place: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_headers({"X-Note": value})

    assert caught.value.message.startswith(place)


@pytest.mark.parametrize("value", ["", " ", "\t"])
def test_a_header_needs_a_value(value: str) -> None:
    with pytest.raises(InvalidInputError, match="'X-Note' has no value"):
        check_headers({"X-Note": value})


@pytest.mark.parametrize("value", [None, 1, True, ["a"], {"a": "b"}, b"a"], ids=repr)
def test_a_value_that_is_not_a_string_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="'X-Note' must be a string"):
        check_headers({"X-Note": value})


@pytest.mark.parametrize("second", ["X-NOTE", "x-note", "X_Note"])
def test_the_same_name_in_another_case_is_refused(second: str) -> None:
    with pytest.raises(InvalidInputError, match="given twice"):
        check_headers({"X-Note": "a", second: "b"})


def test_the_number_of_headers_is_limited() -> None:
    headers = {f"X-{number}": "a" for number in range(MAX_HEADERS)}

    assert check_headers(headers) == headers
    with pytest.raises(InvalidInputError, match="at most 32"):
        check_headers(headers | {"X-More": "a"})


def test_the_size_of_all_headers_is_limited() -> None:
    longest = "a" * (MAX_HEADERS_BYTES - len("X-Note: \r\n"))

    assert check_headers({"X-Note": longest}) == {"X-Note": longest}
    with pytest.raises(InvalidInputError, match="8192 bytes") as caught:
        check_headers({"X-Note": longest + "a"})
    assert len(caught.value.message) < 100


def test_a_long_bad_name_is_shortened_in_the_message() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_headers({" " * 100_000: "a"})

    assert len(caught.value.message) < 120


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_an_accepted_header_cannot_break_out_of_its_line(headers: dict[str, str]) -> None:
    try:
        checked = check_headers(headers)
    except InvalidInputError:
        return

    for name, value in checked.items():
        line = f"{name}: {value}".encode("latin-1")
        assert not {0, 10, 13} & set(line)
        assert line.partition(b": ")[0] == name.encode("ascii")
