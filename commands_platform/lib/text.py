"""Normalizes text from callers, and refuses characters that mislead a reader.

Joiners, variation selectors, tags (in flags) and right-to-left marks are allowed, because ordinary text needs them.
Control characters are refused, and so are Unicode's separators of lines and paragraphs. So are the characters that
override, embed or isolate a text direction, because they can make text look different from what it is.
"""

from __future__ import annotations

import re
import unicodedata

from commands_platform.lib.errors import InvalidInputError

# The limit of the Stream-Safe Text Format (UAX #15). No language needs more.
MAX_COMBINING_MARKS = 30

_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

# Control characters have only aliases in Unicode. `unicodedata` can look these up but not return them.
_C0_NAMES = """
NULL, START OF HEADING, START OF TEXT, END OF TEXT, END OF TRANSMISSION, ENQUIRY, ACKNOWLEDGE, ALERT, BACKSPACE,
CHARACTER TABULATION, LINE FEED, LINE TABULATION, FORM FEED, CARRIAGE RETURN, SHIFT OUT, SHIFT IN, DATA LINK ESCAPE,
DEVICE CONTROL ONE, DEVICE CONTROL TWO, DEVICE CONTROL THREE, DEVICE CONTROL FOUR, NEGATIVE ACKNOWLEDGE,
SYNCHRONOUS IDLE, END OF TRANSMISSION BLOCK, CANCEL, END OF MEDIUM, SUBSTITUTE, ESCAPE, INFORMATION SEPARATOR FOUR,
INFORMATION SEPARATOR THREE, INFORMATION SEPARATOR TWO, INFORMATION SEPARATOR ONE
"""
_C1_NAMES = """
DELETE, PADDING CHARACTER, HIGH OCTET PRESET, BREAK PERMITTED HERE, NO BREAK HERE, INDEX, NEXT LINE,
START OF SELECTED AREA, END OF SELECTED AREA, CHARACTER TABULATION SET, CHARACTER TABULATION WITH JUSTIFICATION,
LINE TABULATION SET, PARTIAL LINE FORWARD, PARTIAL LINE BACKWARD, REVERSE LINE FEED, SINGLE SHIFT TWO,
SINGLE SHIFT THREE, DEVICE CONTROL STRING, PRIVATE USE ONE, PRIVATE USE TWO, SET TRANSMIT STATE, CANCEL CHARACTER,
MESSAGE WAITING, START OF GUARDED AREA, END OF GUARDED AREA, START OF STRING, SINGLE GRAPHIC CHARACTER INTRODUCER,
SINGLE CHARACTER INTRODUCER, CONTROL SEQUENCE INTRODUCER, STRING TERMINATOR, OPERATING SYSTEM COMMAND,
PRIVACY MESSAGE, APPLICATION PROGRAM COMMAND
"""
_CONTROL_NAMES = {
    chr(code): name
    for first, names in ((0x00, _C0_NAMES), (0x7F, _C1_NAMES))
    for code, name in enumerate(" ".join(names.split()).split(", "), start=first)
}


def normalize(text: str) -> str:
    """Returns the text in Unicode's Normalization Form C.

    Raises InvalidInputError for more than MAX_COMBINING_MARKS combining marks in a row.
    """
    if text.isascii():
        return text
    # Normalizing a run of marks takes quadratic time: 80,000 of them take seconds.
    if len(text) > MAX_COMBINING_MARKS and _longest_run_of_marks(text) > MAX_COMBINING_MARKS:
        raise InvalidInputError(
            f"Text must not have more than {MAX_COMBINING_MARKS} combining marks in a row. Remove some of them."
        )
    return unicodedata.normalize("NFC", text)


def refusal_of(text: str, *, allowed: str = "", offset: int = 0) -> str | None:
    """Returns a message that names the first refused character and its position, counted from 1, or None.

    `allowed` contains control characters that are not refused, such as line breaks in a description. `offset` is the
    number of characters that the caller has removed from the beginning of the text.
    """
    if text.isprintable():
        return None
    for found in _REFUSED.finditer(text):
        character = found.group()
        if character not in allowed:
            place = offset + found.start() + 1
            return f"Character {place} is {name_of(character)}, which is not allowed. Remove it."
    return None


def name_of(character: str) -> str:
    """Returns the number and the name of a character, like `U+20AC EURO SIGN`. Not every character has a name."""
    name = _CONTROL_NAMES.get(character) or unicodedata.name(character, "")
    return f"U+{ord(character):04X} {name}".rstrip()


def _longest_run_of_marks(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        longest = max(longest, run)
    return longest
