"""Text from callers: one spelling for what looks the same, and no characters that nobody sees."""

from __future__ import annotations

import unicodedata

from commands_platform.lib.errors import InvalidInputError

# Of the Stream-Safe Text Format (UAX #15); no language needs as many.
MAX_COMBINING_MARKS = 30


def normalise(text: str) -> str:
    """The text in Unicode's Normalization Form C; InvalidInputError for over 30 combining marks in a row."""
    if text.isascii():
        return text
    # Sorting a run of marks takes time that grows with the square of its length: 80,000 of them take seconds.
    if len(text) > MAX_COMBINING_MARKS and _longest_run_of_marks(text) > MAX_COMBINING_MARKS:
        raise InvalidInputError(f"Text must not have more than {MAX_COMBINING_MARKS} combining marks in a row.")
    return unicodedata.normalize("NFC", text)


def has_control_characters(text: str) -> bool:
    """Whether the text holds a control or format character (categories Cc and Cf): NUL, newline, zero-width joiner …"""
    return not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cf") for character in text)


def _longest_run_of_marks(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        longest = max(longest, run)
    return longest
