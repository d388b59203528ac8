"""Keeps the server from calling addresses that it must not reach, itself included.

`refusal` does the protecting, when a socket is made: until then, the owner of a name can change its address.
`check_url` runs when a URL is saved. It accepts only URLs that every parser reads alike, and tells the caller early if
a URL could never be called. `url_refusal` repeats that check when a socket is made, because the rules may be stricter
by then.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

from outbound.addresses import embedded_in, is_of_this_machine, parse_networks, refused_as
from outbound.errors import InvalidCallbackUrlError, refuse
from outbound.host_names import ascii_name

MAX_URL_LENGTH = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORTS_SHOWN = 20
_MAX_PORT = 65535

# Ports of services that an HTTP request can disturb, or that answer without a password. The first line comes from the
# ports that browsers block (WHATWG Fetch). None is 32768 or above, the range that Linux gives to outgoing sockets.
_SERVICE_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 10080}
    | {1433, 1521, 2375, 2376, 2377, 2379, 2380, 3306, 3389, 4369, 5432, 5672, 5900, 5984, 5985, 5986, 6379, 6380}
    | {6443, 6679, 6697, 7000, 7001, 8125, 8500, 9042, 9092, 9160, 9200, 9300, 10250, 10255, 11211, 15672, 16379}
    | {26379, 27017, 27018, 27019}
)

_URL_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]+))?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Advice about a refused address. The second part is for addresses that the operator may allow.
_USE_PUBLIC = "Use a host with a public address"
_ASK_OPERATOR = "or have the operator allow its network (CALLBACK_ALLOWED_NETWORKS)"

_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Decides which URLs and addresses may be called. Build one per process.

    `allowed_networks` allows networks that are refused by default, but never metadata, link-local, multicast, broadcast
    and unspecified addresses. If `allowed_ports` is None, ports 80, 443 and from 1024 on are allowed, except those of
    well-known services. `own_places` are the hosts and ports of the server itself and of what belongs to it. `own_port`
    is the port that it listens on, on this machine.
    """

    allowed_networks: Sequence[IPv4Network | IPv6Network] = ()
    allowed_ports: frozenset[int] | None = None
    allowed_schemes: frozenset[str] = frozenset({"http", "https"})
    own_places: frozenset[tuple[str, int]] = frozenset()
    own_port: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_networks", tuple(self.allowed_networks))

    def check_url(self, url: str) -> str:
        """Returns the URL in ASCII, with scheme, host and port in their normal spelling. The rest stays as it is.

        Raises InvalidCallbackUrlError, which says what to do instead. It does not look up names: `refusal` judges their
        addresses later.
        """
        _check_characters(url)
        parts = _URL_PARTS.fullmatch(url)
        if parts is None:
            refuse("The URL must start with http:// or https:// and a host, like https://example.com/hook.")
        scheme = parts["scheme"].lower()
        if scheme not in self.allowed_schemes:
            refuse(f"The URL's scheme must be {' or '.join(sorted(self.allowed_schemes))}: nothing else is called.")
        if parts["fragment"] is not None:
            refuse("The URL must not have a fragment: it would never be sent. Remove the # and what follows it.")
        if "@" in parts["authority"]:
            refuse(
                "The URL must not have a user name or password in it. Put credentials into `headers`, as Authorization."
            )
        authority = _AUTHORITY.fullmatch(parts["authority"])
        if authority is None:
            refuse(
                "The URL's host and port cannot be read. Write host or host:port, with an IPv6 address in [brackets]."
            )
        host = self._check_host(authority["host"])
        port = self._check_port(scheme, authority["port"])
        if (host, port) in self.own_places or self._is_own_address(host.strip("[]"), port):
            refuse("The URL leads back to this server. Use the URL of your own receiver.")
        tail = quote((parts["path"] or "/") + (parts["query"] or ""), safe="!$%&'()*+,/:;=?@[]~")
        shown_port = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
        normalized = f"{scheme}://{host}{shown_port}{tail}"
        if len(normalized) > MAX_URL_LENGTH:
            refuse(
                f"The URL is longer than {MAX_URL_LENGTH} characters once its other letters are encoded. Shorten it."
            )
        return normalized

    def url_refusal(self, url: str) -> str | None:
        """Returns the sentence with which `check_url` now refuses a URL that it once accepted, or None."""
        try:
            self.check_url(url)
        except InvalidCallbackUrlError as error:
            return str(error)
        return None

    def refusal(self, address: str, port: int | None = None) -> str | None:
        """Returns the reason why no socket to this literal address may be made, or None.

        An IPv6 address that carries an IPv4 address is judged by the IPv4 address.
        """
        if self._is_own_address(address, port):
            return f"{address} is this server itself"
        try:
            final = ip_address(address)
        except ValueError:
            return f"{address!a} is not an IP address"
        carried = embedded_in(final)
        for embedded in carried:
            if (what := refused_as(embedded, allowed=self.allowed_networks)) is not None:
                return f"{address} carries {embedded}, {what}"
        if carried or (what := refused_as(final, allowed=self.allowed_networks)) is None:
            return None
        return f"{address} is {what}"

    def advice(self, address: str) -> str:
        """Returns a sentence that says what to do about a refused address."""
        everything = AddressGuard(allowed_networks=parse_networks("0.0.0.0/0,::/0"))
        may_be_allowed = everything.refusal(address) is None and self.refusal(address) is not None
        return f"{_USE_PUBLIC}, {_ASK_OPERATOR}." if may_be_allowed else f"{_USE_PUBLIC}."

    def _is_own_address(self, host: str, port: int | None) -> bool:
        return port is not None and port == self.own_port and is_of_this_machine(host)

    def _check_host(self, host: str) -> str:
        if not host:
            refuse("The URL has no host. Write it like https://example.com/hook.")
        if host.startswith("["):
            return f"[{self._check_literal(_ipv6_literal(host[1:-1]))}]"
        name = ascii_name(host)
        if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
            return self._check_literal(_ipv4_literal(name))
        if name == "localhost" or name.endswith(".localhost"):
            # RFC 6761 §6.3: these names always mean loopback.
            reasons = [self.refusal("127.0.0.1"), self.refusal("::1")]
            if None not in reasons:
                refuse(
                    f"The URL cannot be called: {name} is a name of the loopback address. {self.advice('127.0.0.1')}"
                )
        return name

    def _check_literal(self, address: IPv4Address | IPv6Address) -> str:
        reason = self.refusal(str(address))
        if reason is not None:
            refuse(f"The URL cannot be called: {reason}. {self.advice(str(address))}")
        return str(address)

    def _check_port(self, scheme: str, text: str | None) -> int:
        port = int(text) if text is not None else _DEFAULT_PORTS[scheme]
        if not 1 <= port <= _MAX_PORT:
            refuse(f"The URL's port must be between 1 and {_MAX_PORT}.")
        if self.allowed_ports is not None:
            is_allowed = port in self.allowed_ports
        else:
            is_allowed = port in {80, 443} or (port >= 1024 and port not in _SERVICE_PORTS)
        if not is_allowed:
            refuse(f"The URL's port {port} may not be called. {self._allowed_ports_in_words()}")
        return port

    def _allowed_ports_in_words(self) -> str:
        if self.allowed_ports is None:
            return "Use 80, 443, or a port from 1024 on that is not a well-known service's."
        ports = sorted(self.allowed_ports)
        shown = ", ".join(map(str, ports[:_MAX_PORTS_SHOWN])) + (", …" if len(ports) > _MAX_PORTS_SHOWN else "")
        return f"Use one of these: {shown}."


def origin_of(url: str) -> str:
    """Returns `scheme://host:port` of a URL from `check_url`, always with the port. Raises ValueError otherwise."""
    parts = _URL_PARTS.fullmatch(url)
    authority = parts and _AUTHORITY.fullmatch(parts["authority"])
    if not parts or not authority or not authority["host"] or parts["scheme"] not in _DEFAULT_PORTS:
        raise ValueError("Not a URL that check_url returned.")
    # libcurl cannot call these either, so a retry would not help.
    port = int(authority["port"] or _DEFAULT_PORTS[parts["scheme"]])
    if not url.isascii() or _CONTROL_OR_SPACE.search(url) or not 1 <= port <= _MAX_PORT or not parts["path"]:
        raise ValueError("Not a URL that check_url returned.")
    return f"{parts['scheme']}://{authority['host']}:{port}"


def parse_places(text: str) -> frozenset[tuple[str, int]]:
    """Returns the host and port of each URL in a comma-separated list. Raises ValueError, which names a bad one."""
    places = set()
    for item in filter(None, map(str.strip, text.split(","))):
        parts = _URL_PARTS.fullmatch(item.lower())
        authority = parts and _AUTHORITY.fullmatch(parts["authority"])
        if not parts or not authority or not authority["host"] or parts["scheme"] not in _DEFAULT_PORTS:
            raise ValueError(f"{item!r} is not a URL like https://commands.example.com")
        places.add((authority["host"], int(authority["port"] or _DEFAULT_PORTS[parts["scheme"]])))
    return frozenset(places)


def _check_characters(url: str) -> None:
    if not url:
        refuse("The URL is empty. Write it like https://example.com/hook.")
    if len(url) > MAX_URL_LENGTH:
        refuse(f"The URL is longer than {MAX_URL_LENGTH} characters. Move what is long into the payload.")
    if _CONTROL_OR_SPACE.search(url):
        refuse("The URL must not contain spaces or control characters. Write a space as %20.")
    if "\\" in url:
        refuse("The URL must not contain a backslash. Write / between parts of the path, or %5C for itself.")
    if not url.isascii() and any(unicodedata.category(character)[0] in "CZ" for character in url):
        refuse("The URL must not contain characters that cannot be seen. Remove or percent-encode them.")


def _ipv6_literal(text: str) -> IPv6Address:
    if "%" in text:
        refuse("The URL's host must not have a zone id. Remove the % and what follows it.")
    try:
        return IPv6Address(text)
    except ValueError as error:
        raise InvalidCallbackUrlError(
            "The URL's host is not an IPv6 address, though it stands in [brackets]. Correct it or use a name."
        ) from error


def _ipv4_literal(text: str) -> IPv4Address:
    """Returns the address of a dotted quad. Refuses other spellings that resolvers accept, like `0x7f.1`."""
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise InvalidCallbackUrlError(
            "The URL's host ends in a number but is not an IPv4 address of four decimal numbers, like 203.0.113.7."
        ) from error
