"""Keeps the server from calling what it must not reach.

`refusal` protects, when a socket is made: until then a name leads wherever its owner likes. `check_url`, when a URL is
saved, lets through what every parser reads alike, and tells the caller early what could never be delivered. It is asked
again through `url_refusal` when a socket is made: the rules may have become stricter since.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, NoReturn
from urllib.parse import quote

from outbound.errors import InvalidCallbackUrlError

MAX_URL_LENGTH = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Services that an HTTP request can disturb or that answer without a password; the first line is from the bad ports of
# browsers (WHATWG Fetch). None lies in the range that Linux gives to outgoing sockets, 32768 and above.
_SERVICE_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 10080}
    | {1433, 1521, 2375, 2376, 2377, 2379, 2380, 3306, 3389, 4369, 5432, 5672, 5900, 5984, 5985, 5986, 6379, 6380}
    | {6443, 6679, 6697, 7000, 7001, 8125, 8500, 9042, 9092, 9160, 9200, 9300, 10250, 10255, 11211, 15672, 16379}
    | {26379, 27017, 27018, 27019}
)

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]+))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f]")

# Marks and letters that UTS 46 drops from a host: two spellings of one name.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_LETTERS_AND_MARKS = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc"})


class _Range(NamedTuple):
    first: int
    last: int
    what: str


def _ranges(*table: tuple[str, str]) -> tuple[_Range, ...]:
    networks = ((ip_network(text), what) for text, what in table)
    return tuple(_Range(int(network[0]), int(network[-1]), what) for network, what in networks)


# No operator's list re-enables these.
_ALWAYS_REFUSED = {
    4: _ranges(
        ("169.254.169.254/32", "a cloud metadata address"),
        ("169.254.170.2/32", "a cloud metadata address"),
        ("100.100.100.200/32", "a cloud metadata address"),  # Alibaba
        ("168.63.129.16/32", "a cloud metadata address"),  # Azure's wire server; looks public
        ("192.0.0.192/32", "a cloud metadata address"),  # Oracle
        ("169.254.0.0/16", "a link-local address"),
        ("0.0.0.0/8", "an unspecified address"),  # Linux connects 0.0.0.0 to loopback
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
    ),
    6: _ranges(
        ("fd00:ec2::/32", "a cloud metadata address"),  # AWS
        ("fd20:ce::254/128", "a cloud metadata address"),  # Google
        ("fd00:c1::a9fe:a9fe/128", "a cloud metadata address"),  # Oracle
        ("fd00:42::42/128", "a cloud metadata address"),  # Scaleway
        ("fe80::/10", "a link-local address"),
        ("::/128", "an unspecified address"),
        ("ff00::/8", "a multicast address"),
        # RFC 8215 leaves the prefix length to the site, so where the IPv4 address stands cannot be known.
        ("64:ff9b:1::/48", "a local NAT64 address"),
    ),
}

_REFUSED_UNLESS_ALLOWED = {
    4: _ranges(
        ("127.0.0.0/8", "a loopback address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("100.64.0.0/10", "a carrier's shared address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("240.0.0.0/4", "a reserved address"),
    ),
    6: _ranges(
        ("::1/128", "a loopback address"),
        ("fc00::/7", "a private address"),
        ("fec0::/10", "a site-local address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("2001:2::/48", "a benchmarking address"),
        ("2001::/23", "a reserved address"),
        # What is left outside 2000::/3 is not global unicast: discard-only 100::/64, SRv6's 5f00::/16 and all that has
        # not been given out.
        ("::/3", "a reserved address"),
        ("4000::/2", "a reserved address"),
        ("8000::/1", "a reserved address"),
    ),
}


class _Embedding(NamedTuple):
    """Where IPv6 addresses of a range carry an IPv4 one: `shift` bits from the right, its bits flipped by `flip`."""

    range: _Range
    shift: int
    flip: int = 0


def _embedding(network: str, shift: int, flip: int = 0) -> _Embedding:
    return _Embedding(_ranges((network, "carries"))[0], shift, flip)


_EMBEDDINGS = (
    _embedding("::ffff:0:0/96", 0),  # IPv4-mapped
    _embedding("::/96", 0),  # IPv4-compatible, RFC 4291; `::` and `::1` are not of them
    _embedding("::ffff:0:0:0/96", 0),  # IPv4-translated, RFC 2765
    _embedding("64:ff9b::/96", 0),  # NAT64, RFC 6052
    _embedding("2002::/16", 80),  # 6to4, RFC 3056
    _embedding("2001::/32", 64),  # Teredo's server, RFC 4380
    _embedding("2001::/32", 0, 0xFFFFFFFF),  # Teredo's client
)


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """What may be called. Build one per process.

    `allowed_networks` re-enables what is refused by default, save metadata, link-local, multicast, broadcast and
    unspecified addresses. `allowed_ports` of None means 80, 443 and all from 1024 on but those of well-known services.
    """

    allowed_networks: Sequence[IPv4Network | IPv6Network] = ()
    allowed_ports: frozenset[int] | None = None
    allowed_schemes: frozenset[str] = frozenset({"http", "https"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_networks", tuple(self.allowed_networks))

    def check_url(self, url: str) -> str:
        """The URL in its one normal spelling (RFC 3986 §6.2; ASCII only), or InvalidCallbackUrlError.

        Names are not looked up: where they lead is for `refusal` to judge.
        """
        _check_characters(url)
        parts = _URL.fullmatch(url)
        if parts is None:
            _refuse("The URL must start with http:// or https:// and a host.")
        scheme = parts["scheme"].lower()
        if scheme not in self.allowed_schemes:
            _refuse(f"The URL's scheme must be {' or '.join(sorted(self.allowed_schemes))}.")
        if parts["fragment"] is not None:
            _refuse("The URL must not have a fragment (#): it would never be sent.")
        if "@" in parts["authority"]:
            _refuse("The URL must not have a user name or password in it.")
        authority = _AUTHORITY.fullmatch(parts["authority"])
        if authority is None:
            _refuse("The URL's host and port cannot be read.")
        host = self._check_host(authority["host"])
        port = self._check_port(scheme, authority["port"])
        tail = quote((parts["path"] or "/") + (parts["query"] or ""), safe="!$%&'()*+,/:;=?@[]~")
        normalised = f"{scheme}://{host}{port}{tail}"
        if len(normalised) > MAX_URL_LENGTH:
            _refuse(f"The URL is longer than {MAX_URL_LENGTH} characters once its other letters are encoded.")
        return normalised

    def url_refusal(self, url: str) -> str | None:
        """What `check_url` has against a URL that it once let through, as a sentence; None when it still does."""
        try:
            self.check_url(url)
        except InvalidCallbackUrlError as error:
            return str(error)
        return None

    def refusal(self, address: str) -> str | None:
        """Why a socket to this literal address must not be made, in plain words; None when it may.

        An IPv6 address that carries an IPv4 address is judged by what it carries.
        """
        try:
            final = ip_address(address)
        except ValueError:
            return f"{address!a} is not an IP address"
        carried = _embedded_in(final)
        for embedded in carried:
            if (what := self._refused_as(embedded)) is not None:
                return f"{address} carries {embedded}, {what}"
        if carried or (what := self._refused_as(final)) is None:
            return None
        return f"{address} is {what}"

    def _refused_as(self, address: IPv4Address | IPv6Address) -> str | None:
        number = int(address)
        for first, last, what in _ALWAYS_REFUSED[address.version]:
            if first <= number <= last:
                return what
        for first, last, what in _REFUSED_UNLESS_ALLOWED[address.version]:
            if first <= number <= last:
                return None if any(address in network for network in self.allowed_networks) else what
        return None

    def _check_host(self, host: str) -> str:
        if not host:
            _refuse("The URL has no host.")
        if host.startswith("["):
            return f"[{self._check_literal(_ipv6_literal(host[1:-1]))}]"
        name = _ascii_name(host)
        if _NUMBER.fullmatch(name.rpartition(".")[2]):
            return self._check_literal(_ipv4_literal(name))
        if name == "localhost" or name.endswith(".localhost"):
            # RFC 6761 §6.3: never anything but loopback.
            reasons = [self.refusal("127.0.0.1"), self.refusal("::1")]
            if None not in reasons:
                _refuse(f"The URL cannot be called: {name} is a name of the loopback address.")
        return name

    def _check_literal(self, address: IPv4Address | IPv6Address) -> str:
        reason = self.refusal(str(address))
        if reason is not None:
            _refuse(f"The URL cannot be called: {reason}.")
        return str(address)

    def _check_port(self, scheme: str, text: str | None) -> str:
        default = _DEFAULT_PORTS.get(scheme)
        port = int(text) if text is not None else default
        if port is None or not 1 <= port <= 65535:
            _refuse("The URL's port must be between 1 and 65535.")
        if self.allowed_ports is not None:
            is_allowed = port in self.allowed_ports
        else:
            is_allowed = port in {80, 443} or (port >= 1024 and port not in _SERVICE_PORTS)
        if not is_allowed:
            _refuse(f"The URL's port {port} may not be called.")
        return "" if port == default else f":{port}"


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of a comma-separated list of CIDRs, blanks around them ignored; ValueError names the bad one."""
    networks = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ip_network(item))
        except ValueError as error:
            raise ValueError(f"{item!r} is not a network in CIDR notation: {error}") from error
    return tuple(networks)


def origin_of(url: str) -> str:
    """`https://host:port` of a URL from `check_url`, the port always there; ValueError for anything else."""
    parts = _URL.fullmatch(url)
    authority = parts and _AUTHORITY.fullmatch(parts["authority"])
    if not parts or not authority or parts["scheme"] not in _DEFAULT_PORTS:
        raise ValueError("Not a URL that check_url returned.")
    return f"{parts['scheme']}://{authority['host']}:{authority['port'] or _DEFAULT_PORTS[parts['scheme']]}"


def _refuse(message: str) -> NoReturn:
    raise InvalidCallbackUrlError(message)


def _check_characters(url: str) -> None:
    if not url:
        _refuse("The URL is empty.")
    if len(url) > MAX_URL_LENGTH:
        _refuse(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if _CONTROL_OR_SPACE.search(url):
        _refuse("The URL must not contain spaces or control characters.")
    if "\\" in url:
        _refuse("The URL must not contain a backslash.")
    if not url.isascii() and any(unicodedata.category(character)[0] in "CZ" for character in url):
        _refuse("The URL must not contain characters that cannot be seen.")


def _embedded_in(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    number = int(address)
    if address.version == 4 or number <= 1:
        return []
    return [
        IPv4Address((number >> embedding.shift & 0xFFFFFFFF) ^ embedding.flip)
        for embedding in _EMBEDDINGS
        if embedding.range.first <= number <= embedding.range.last
    ]


def _ipv6_literal(text: str) -> IPv6Address:
    if "%" in text:
        _refuse("The URL's host must not have a zone id.")
    try:
        return IPv6Address(text)
    except ValueError as error:
        raise InvalidCallbackUrlError("The URL's host is not an IPv6 address.") from error


def _ipv4_literal(text: str) -> IPv4Address:
    """Only the dotted quad: what else a resolver reads as a number (`0x7f.1`, `017700000001`, `0`) is a disguise."""
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise InvalidCallbackUrlError(
            "The URL's host ends in a number but is not an IPv4 address of four decimal numbers."
        ) from error


def _ascii_name(host: str) -> str:
    labels = list(_ascii_labels(unicodedata.normalize("NFC", host.lower()).split(".")))
    name = ".".join(labels)
    if len(name) > 253:
        _refuse("The URL's host is longer than 253 characters.")
    return name


def _ascii_labels(labels: Iterable[str]) -> Iterator[str]:
    for label in labels:
        if not label:
            _refuse("The URL's host must not have two dots in a row, or one at an end.")
        encoded = label if label.isascii() else _a_label(label)
        if len(encoded) > 63:
            _refuse("The URL's host has a part that is longer than 63 characters.")
        if not _LABEL.fullmatch(encoded):
            _refuse("The URL's host may have letters, digits, hyphens and dots only.")
        yield encoded


def _a_label(label: str) -> str:
    """The A-label of a lower-case NFC label (RFC 5890), for letters on which IDNA 2003, IDNA 2008 and UTS 46 agree.

    Digits and dots of other scripts, compatibility forms and ß or ς would be other names to other programs: refused.
    """
    is_stable = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold()) == label
    categories = [unicodedata.category(character) for character in label if not character.isascii()]
    if (
        not is_stable
        or _IGNORABLE.search(label)
        or not _LETTERS_AND_MARKS.issuperset(categories)
        or unicodedata.category(label[0]).startswith("M")
        or label[2:4] == "--"
    ):
        _refuse("The URL's host has characters that programs read differently; write it in its xn-- form.")
    return "xn--" + label.encode("punycode").decode("ascii")
