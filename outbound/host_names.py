"""Normalizes host names, and refuses those that programs do not all read alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from outbound.errors import refuse

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")

# Marks and letters that UTS 46 drops from a host, so that one name has two spellings.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_LETTERS_AND_MARKS = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc"})


def ascii_name(host: str) -> str:
    """Returns the name in lower case and ASCII (RFC 5890). Raises InvalidCallbackUrlError."""
    labels = list(_ascii_labels(unicodedata.normalize("NFC", host.lower()).split(".")))
    name = ".".join(labels)
    if len(name) > 253:
        refuse("The URL's host is longer than 253 characters: no name is. Correct it.")
    return name


def _ascii_labels(labels: Iterable[str]) -> Iterator[str]:
    for label in labels:
        if not label:
            refuse("The URL's host must not have two dots in a row, or one at an end. Remove them.")
        encoded = label if label.isascii() else _a_label(label)
        if len(encoded) > 63:
            refuse("The URL's host has a part that is longer than 63 characters: no name has. Correct it.")
        if encoded.startswith("-") or encoded.endswith("-"):
            refuse("A part of the URL's host must not begin or end with a hyphen. Remove the hyphen.")
        if not _LABEL.fullmatch(encoded):
            refuse("The URL's host may have letters, digits, hyphens and dots only.")
        yield encoded


def _a_label(label: str) -> str:
    """Returns the A-label of a lower-case NFC label (RFC 5890). IDNA 2003, IDNA 2008 and UTS 46 must agree on it.

    It refuses digits and dots of other scripts, compatibility forms, ß and ς: other programs would read other names.
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
        refuse("The URL's host has characters that programs read differently; write it in its xn-- form.")
    return "xn--" + label.encode("punycode").decode("ascii")
