"""Requests that hostile or broken clients send. Every endpoint must answer them in JSON, and not with a 5xx.

Queries and path segments are percent-encoded, as they are sent. Header values are WSGI strings, with one character for
each byte.
"""

from __future__ import annotations

MEBIBYTE = 1024 * 1024


def _array_of(element: bytes) -> bytes:
    """Returns an array of as many copies of the element as fit into one mebibyte."""
    return b"[" + b",".join([element] * ((MEBIBYTE - 2) // (len(element) + 1))) + b"]"


OVERSIZED_BODIES: dict[str, bytes] = {
    "one byte over the limit": b'"' + b"x" * (MEBIBYTE - 1) + b'"',
    "three mebibytes of spaces": b" " * (3 * MEBIBYTE),
}

MALFORMED_BODIES: dict[str, bytes] = {
    "a mebibyte of open arrays": b"[" * MEBIBYTE,
    "a mebibyte of open objects": b'{"a":' * (MEBIBYTE // 5),
    "half a million nested arrays": b"[" * (MEBIBYTE // 2) + b"]" * (MEBIBYTE // 2),
    "nesting of 65": b"[" * 65 + b"]" * 65,
    "nesting of 65 objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "nesting of 1,000": b"[" * 1000 + b"]" * 1000,
    "integers of 4,000 digits": _array_of(b"9" * 4000),
    "one integer of a million digits": b"1" * 1_000_000,
    "an integer of 2**64": b'{"a": 18446744073709551616}',
    "an integer below -2**63": b'{"a": -9223372036854775809}',
    "an integer of 25 digits": b'{"repeats": 1000000000000000000000000}',
    "a float beyond range": b'{"a": 1e999}',
    "a negative float beyond range": b'{"a": -1e999}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "an escaped NUL in a string": b'{"a": "\\u0000"}',
    "an escaped NUL in a key": b'{"\\u0000": 1}',
    "an escaped NUL after a backslash": b'{"a": "\\\\\\u0000"}',
    "a raw NUL in a string": b'{"a": "\0"}',
    "a NUL after the end": b"{}\0",
    "a raw newline in a string": b'{"a": "\n"}',
    "a lone high surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate": b'{"a": "\\udc00"}',
    "a lone surrogate in a key": b'{"\\ud800": 1}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "a repeated key": b'{"a": 1, "a": 2}',
    "a repeated key, spelt in two ways": b'{"a": 1, "\\u0061": 2}',
    "a repeated key deep inside": b'{"a": [{"b": {"c": 1, "d": "x:y", "c": 1}}]}',
    "a hundred thousand repeated keys": b"{" + b",".join([b'"a":1'] * 100_000) + b"}",
    "Latin-1": b'{"a": "\xe9"}',
    "an overlong encoding": b'{"a": "\xc0\xaf"}',
    "a code point beyond Unicode": b'{"a": "\xf5\x80\x80\x80"}',
    "UTF-8 with a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a byte order mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "only spaces": b"  \n ",
    "trailing garbage": b"{} x",
    "two documents": b"{}{}",
    "an unfinished object": b'{"a": 1',
    "an unfinished string": b'{"a": "b',
    "a trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "a comment": b'{"a": 1} // one',
    "a leading zero": b'{"a": 01}',
    "a leading plus": b'{"a": +1}',
    "a bare word": b"null null",
    "a form": b"a=1&b=2",
    "XML": b"<a/>",
}

ODD_BODIES: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a string": b'"a"',
    "an empty array": b"[]",
    "an empty object": b"{}",
    "an array of objects": b'[{"name": "a"}]',
    "half a million numbers": _array_of(b"1"),
    "hundreds of thousands of empty arrays": _array_of(b"[]"),
    "hundreds of thousands of empty objects": _array_of(b"{}"),
    "a mebibyte of nesting 64 deep": _array_of(b"[" * 63 + b"]" * 63),
    "nesting of 64 objects": b'{"a":' * 64 + b"1" + b"}" * 64,
    "ninety thousand keys": b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}",
    "fractions of 4,000 digits": _array_of(b"0." + b"9" * 4000),
    "a mebibyte of backslashes": b'["' + b"\\\\" * (MEBIBYTE // 2 - 3) + b'"]',
    "half a mebibyte of combining marks": b'{"name": "a' + "\u0301\u0323".encode() * (MEBIBYTE // 8) + b'"}',
    "the widest integers": b'{"a": 18446744073709551615, "b": -9223372036854775808}',
    "the smallest float": b'{"a": 5e-324, "b": 1e-999, "c": -0.0}',
    "a backslash before u0000": b'{"a": "\\\\u0000"}',
    "an empty key": b'{"": ""}',
    "nulls everywhere": (
        b'{"name": null, "cron": null, "execution_frequency": null, "repeats": null, "payload": null, "op": null,'
        b' "params": null, "namespace": null, "subscriptions": null, "category": null, "action": null,'
        b' "metadata": null, "user_uuid": null, "callback_url": null, "command_uuid": null}'
    ),
    "wrong types everywhere": (
        b'{"name": 1, "cron": {}, "execution_frequency": "1", "repeats": true, "payload": [], "op": ["get"],'
        b' "params": "x", "namespace": 7, "subscriptions": 3.5, "subscribed_objects": {}, "category": false,'
        b' "action": [], "metadata": "m", "user_uuid": 1, "callback_url": {}, "command_uuid": [], "is_active": "yes",'
        b' "include_user_context": 1, "timezone_type": 0, "is_owned_by_user": "true", "label": {}, "event": 5,'
        b' "body": 1}'
    ),
    "widest integers everywhere": (
        b'{"name": "a", "execution_frequency": 18446744073709551615, "repeats": -9223372036854775808,'
        b' "category": "a", "action": "b", "op": "set", "namespace": "n",'
        b' "params": {"key": "k", "value": 1, "ttl": 18446744073709551615, "if_version": -9223372036854775808}}'
    ),
    "invisible characters everywhere": (
        '{"name": "\u200b", "category": "\u202e", "action": "\u0085", "label": "\ufeff", "op": "g\u200det",'
        ' "namespace": "\u00ad", "params": {"key": "\u2028"}, "subscriptions": ["a\u200b"], "cron": "*\u3000* * * *"}'
    ).encode(),
}

HOSTILE_BODIES: dict[str, bytes] = OVERSIZED_BODIES | MALFORMED_BODIES | ODD_BODIES

HOSTILE_QUERIES: tuple[str, ...] = (
    "limit=",
    "limit=0",
    "limit=-1",
    "limit=%2B1",
    "limit=1.0",
    "limit=1e3",
    "limit=1_000",
    "limit=0x10",
    "limit=%201",
    "limit=1%0A",
    "limit=abc",
    "limit=%00",
    "limit=%EF%BC%91%EF%BC%90",
    "limit=%D9%A1",
    "limit=%C2%B2",
    "limit=9223372036854775808",
    "limit=" + "9" * 400,
    "limit=" + "9" * 5000,
    "limit=" + "0" * 5000,
    "offset=",
    "offset=-1",
    "offset=1_000",
    "offset=2147483648",
    "offset=9223372036854775808",
    "offset=" + "9" * 5000,
    "limit=1&limit=x",
    "limit[]=1",
    "cursor=junk",
    "cursor=%00",
    "cursor=" + "A" * 5000,
    "since=never&until=%00",
    "since=0001-01-01T00:00:00%2B14:00",
    "since=9999-12-31T23:59:59-14:00",
    "since=2026-02-30T00:00:00Z",
    "user_uuid=%00",
    "user_uuid=urn:uuid:00000000-0000-4000-8000-000000000000",
    "category=%ff",
    "category=%ED%A0%80",
    "category=%E2%80%AE",
    "expand=%00",
    "expand=__class__,password,*",
    "%00=1",
    "%ff=1",
    "\xff=1",
    "a=%",
    "a=%zz",
    "format=xml",
    "&&&===&",
    "&".join(["a=1"] * 2000),
)

HOSTILE_PATH_SEGMENTS: tuple[str, ...] = (
    "%00",
    "a%00b",
    "%ff",
    "%ED%A0%80",
    "%C0%AF",
    "%E2%80%AE",
    "%F0%9F%98%80",
    "%25%30%30",
    "%2500",
    "not-a-uuid",
    "None",
    "0",
    "-1",
    "1e5",
    "9" * 5000,
    "..",
    "%2e%2e%2f%2e%2e%2fetc",
    "*",
    "'%20OR%201=1--",
    "00000000000040008000000000000000",
    "%7B00000000-0000-4000-8000-000000000000%7D",
    "urn:uuid:00000000-0000-4000-8000-000000000000",
    "00000000-0000-4000-8000-00000000000",
    "00000000-0000-4000-8000-0000000000000",
    "00000000-0000-4000-8000-000000000000%0A",
    "%2000000000-0000-4000-8000-000000000000",
    "0000000g-0000-4000-8000-000000000000",
    "%EF%BC%90%EF%BC%90000000-0000-4000-8000-000000000000",
)

HOSTILE_HEADER_VALUES: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\xff\xfe",
    "\xed\xa0\x80",
    "\xc0\xaf",
    "caf\xe9",
    "caf\xc3\xa9",
    "\xf0\x9f\x98\x80",
    "\x01\x7f",
    "x" * 100_000,
    "9" * 5000,
    "null",
    "Bearer ",
    "a,b",
    "' OR '1'='1",
    "../../etc/passwd",
    "%00",
    "a b\tc",
)

HOSTILE_CONTENT_TYPES: tuple[str, ...] = (
    "application/json; charset=utf-16",
    "application/json; charset=hex",
    "application/json; charset=idna",
    "application/json; charset=undefined",
    "application/json; charset=" + "x" * 500,
    'application/json; charset="',
    "application/json;;;;=",
    "text/plain",
    "text/html",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=hex",
    "application/xml",
    "*/*",
    "json",
    "/",
    ";",
)
