"""Checks the headers that callers add to a callback, and reads them back for sending."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from commands_platform.lib.encryption import EncryptedText, decrypt_if_possible, decrypt_values
from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.text import name_of

MAX_HEADERS = 32
MAX_HEADERS_BYTES = 8 * 1024

_OURS_PREFIX = "webhook-"
_RESERVED = frozenset(
    {
        # Headers that frame the message or belong to one connection: RFC 9110 §7.6.1, RFC 9112 §6.
        *("connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-authenticate"),
        *("proxy-authentication-info", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
        # Headers that the sender sets itself. It does not compress the body, nor does it let the receiver compress its
        # own.
        *("accept-encoding", "content-encoding", "content-type", "user-agent", "x-correlation-id"),
        *("x-dailybot-signature", "x-dailybot-signature-next"),
    }
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_VALUE = re.compile(r"[^\t\x20-\x7e\xa0-\xff]")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers without blanks around their values. Each value fits Latin-1.

    Raises InvalidInputError, which names the header and a character that is not allowed. It never repeats the value,
    because it may be a secret.
    """
    if len(headers) > MAX_HEADERS:
        raise InvalidInputError(f"There may be at most {MAX_HEADERS} headers.")
    checked: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in headers.items():
        _check_name(name)
        # CGI and WSGI receivers read "_" and "-" in a name as one, so X_DailyBot_Signature would pass for ours.
        folded = name.lower().replace("_", "-")
        if folded in _RESERVED or folded.startswith(_OURS_PREFIX):
            raise InvalidInputError(f"The header {_shown(name)} is set by the server and cannot be given.")
        if folded in seen:
            raise InvalidInputError(f"The header {_shown(name)} is given twice.")
        seen.add(folded)
        # A stored value that no key decrypts was checked when it was given.
        checked[name] = value if isinstance(value, EncryptedText) else _checked_value(name, value)
    # The four bytes beside name and value are those of "Name: value\r\n".
    if sum(len(name) + len(value) + 4 for name, value in checked.items()) > MAX_HEADERS_BYTES:
        raise InvalidInputError(f"The headers are longer than {MAX_HEADERS_BYTES} bytes in all.")
    return checked


def read_headers(stored: str) -> dict[str, str]:
    """Returns the headers that a delivery is sent with. Raises SecretUnreadableError if one cannot be decrypted."""
    return decrypt_values(orjson.loads(stored)) if stored else {}


def header_values(stored: str) -> list[str]:
    """Returns the values, decrypted where possible, so that they can be removed from what receivers send back."""
    return [decrypt_if_possible(value) for value in orjson.loads(stored).values()] if stored else []


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise InvalidInputError(f"{_shown(name)} is not the name of a header.")


def _checked_value(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"The value of the header {_shown(name)} must be a string.")
    stripped = value.strip(" \t")
    if not stripped:
        # libcurl does not send a header without a value.
        raise InvalidInputError(f"The header {_shown(name)} has no value.")
    if (bad := _NOT_IN_A_VALUE.search(value)) is not None:
        raise InvalidInputError(
            f"Character {bad.start() + 1} of the value of the header {_shown(name)} is {name_of(bad.group())}, which is"
            " not allowed. Values may have printable characters of Latin-1, spaces and tabs."
        )
    return stripped


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
