"""Reads JSON by RFC 8259, and refuses what it leaves open: repeated keys, NUL, and numbers beyond 64 bits."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any, TypeAlias

import orjson

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

_MIN_INTEGER = -(2**63)
_MAX_INTEGER = 2**64 - 1

# The patterns run on text that is known to be JSON. Their quantifiers are possessive, so each takes linear time.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRINGS = re.compile(_STRING)
_STRING_OR_NUMBER = re.compile(_STRING + rb"|(-?[0-9]{19,}+)(?![.eE])|[0-9.eE+-]++")
_LONG_DIGITS = re.compile(rb"[0-9]{19}")
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")

_CLEARER_WORDS = {
    "depth limit exceeded": "The JSON is nested too deeply",
    "number is infinity when parsed as double": "The number is too large",
    "no low surrogate in string": "The string contains half of a surrogate pair",
    "invalid high surrogate in string": "The string contains half of a surrogate pair",
    "invalid low surrogate in string": "The string contains half of a surrogate pair",
}


class PayloadTooLargeError(ValueError):
    """The text has more bytes than are accepted."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The request body may have {max_bytes} bytes at most. Send less at a time.")


class MalformedJsonError(ValueError):
    """The text is not JSON, or is JSON that is not accepted. Lines and columns count from 1, columns in characters."""

    def __init__(self, reason: str, *, line: int | None = None, column: int | None = None) -> None:
        self.reason = reason
        self.line = line
        self.column = column
        super().__init__(reason if line is None else f"{reason}: line {line} column {column}")


class NestedTooDeeplyError(MalformedJsonError):
    """The JSON is nested more deeply than is accepted."""


def loads(raw: bytes, *, max_bytes: int, max_depth: int = 64) -> JsonValue:
    """Returns the value of UTF-8 JSON text. An object or array around a scalar has depth 1.

    Raises PayloadTooLargeError or MalformedJsonError. `max_depth` may be 1,000 at most.
    """
    if len(raw) > max_bytes:
        raise PayloadTooLargeError(max_bytes)
    try:
        value: JsonValue = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _explained(raw, error) from None
    escaped_nul = _ESCAPED_NUL.search(raw) if b"\\u0000" in raw else None
    if escaped_nul is not None:
        raise _at(raw, escaped_nul.start(), "A string contains the NUL character, which is not accepted")
    colons = raw.count(b":")
    if colons > 1 or raw.count(b"[") + raw.count(b"{") > max_depth:
        pairs = _count_pairs(value, max_depth)
        # Each pair has one colon, so equal counts prove that no pair was overwritten. Colons inside strings make the
        # counts differ too. Only then are the strings removed before counting again.
        if pairs != colons and pairs != _STRINGS.sub(b"", raw).count(b":"):
            raise MalformedJsonError(f'The key "{_first_repeated_key(raw)}" appears twice in one object')
    if _LONG_DIGITS.search(raw):
        _refuse_wide_integers(raw)
    return value


def dumps(value: object) -> bytes:
    """Returns a JSON value as compact JSON in UTF-8, keys in their order. Raises TypeError for anything else."""
    return orjson.dumps(value)


def refuse_deep(value: Any, text: bytes, *, max_depth: int) -> None:
    """Raises NestedTooDeeplyError if the value of this JSON text has more than `max_depth` levels."""
    if text.count(b"[") + text.count(b"{") > max_depth:
        _count_pairs(value, max_depth)


def _count_pairs(value: JsonValue, max_depth: int) -> int:
    """Returns the number of key-value pairs in the whole value. It does not recurse, so no depth exhausts the stack."""
    pairs = depth = 0
    level = [value]
    while True:
        objects = [item for item in level if isinstance(item, dict)]
        arrays = [item for item in level if isinstance(item, list)]
        if not objects and not arrays:
            return pairs
        depth += 1
        if depth > max_depth:
            raise NestedTooDeeplyError(f"The JSON is nested more than {max_depth} levels deep")
        pairs += sum(map(len, objects))
        level = list(chain(chain.from_iterable(map(dict.values, objects)), chain.from_iterable(arrays)))


def _refuse_wide_integers(raw: bytes) -> None:
    """Raises MalformedJsonError for an integer beyond 64 bits, which the decoder would read as the nearest float."""
    for token in _STRING_OR_NUMBER.finditer(raw):
        digits = token.group(1)
        if digits is None:
            continue
        if len(digits) > 20 or not _MIN_INTEGER <= int(digits) <= _MAX_INTEGER:
            reason = f"An integer must lie between {_MIN_INTEGER} and {_MAX_INTEGER}"
            raise _at(raw, token.start(1), reason)


class _RepeatedKeyError(Exception):
    pass


def _first_repeated_key(raw: bytes) -> str:
    """Returns a key that the JSON text repeats. The text must not be deep, because the standard library recurses."""

    def refuse_repeated(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)

    try:
        json.loads(raw, object_pairs_hook=refuse_repeated, parse_int=str, parse_float=str)
    except _RepeatedKeyError as repeated:
        key = str(repeated)
        return key if len(key) <= 50 else key[:50] + "…"
    return ""


def _explained(raw: bytes, error: orjson.JSONDecodeError) -> MalformedJsonError:
    if not raw:
        return MalformedJsonError("The body is empty")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return MalformedJsonError("The body must be UTF-8 without a byte order mark")
    try:
        raw.decode()
    except UnicodeDecodeError as undecodable:
        return _at(raw, undecodable.start, "The body is not valid UTF-8")
    nul = raw.find(b"\0")
    if nul >= 0:
        return _at(raw, nul, "The body contains a NUL byte, so it is not JSON in UTF-8")
    reason = _CLEARER_WORDS.get(error.msg, error.msg[:1].upper() + error.msg[1:])
    return MalformedJsonError(reason, line=error.lineno, column=error.colno)


def _at(raw: bytes, position: int, reason: str) -> MalformedJsonError:
    line_start = raw.rfind(b"\n", 0, position) + 1
    column = len(raw[line_start:position].decode()) + 1
    return MalformedJsonError(reason, line=raw.count(b"\n", 0, position) + 1, column=column)
