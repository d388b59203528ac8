"""The forward proxy through which callbacks leave, if the operator has one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import unquote_to_bytes

# The characters of RFC 3986's user info, without the colon between user name and password.
_CREDENTIAL = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_PROXY = re.compile(
    r"(?P<scheme>https?)://"
    rf"(?:(?P<username>{_CREDENTIAL}+)(?::(?P<password>{_CREDENTIAL}*))?@)?"
    r"(?P<host>\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})/?"
)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """The URL of the proxy, and our credentials, which its repr leaves out."""

    url: str
    username: bytes | None = field(default=None, repr=False)
    password: bytes = field(default=b"", repr=False)


def parse_proxy(text: str) -> ForwardProxy | None:
    """Returns the proxy of `http://[user:password@]host:port`, or of https, or None for an empty text.

    Raises ValueError for anything else. It never repeats the text, which may hold a password.
    """
    if not text:
        return None
    parts = _PROXY.fullmatch(text)
    if parts is None or not 1 <= int(parts["port"]) <= 65535 or (parts["ipv6"] and not _is_ipv6(parts["ipv6"])):
        raise ValueError(
            "must be http://host:port or https://host:port, or http://user:password@host:port with whatever is special "
            "in a URL written as %40 and the like"
        )
    username = unquote_to_bytes(parts["username"]) if parts["username"] else None
    password = unquote_to_bytes(parts["password"] or "")
    # RFC 7617 §2: a user name ends at the first colon.
    if _CONTROL.search((username or b"") + password) or b":" in (username or b""):
        raise ValueError("must have no control characters in its user name and password, and no colon in the user name")
    return ForwardProxy(f"{parts['scheme']}://{parts['host']}:{int(parts['port'])}", username, password)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
