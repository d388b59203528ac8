"""Secrets are removed from text in linear time."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from commands_platform.lib.masking import REMOVED, SHAPES, mask_secrets

# `re` itself compiles patterns with these modules.
parser, constants = import_module("re._parser"), import_module("re._constants")

SECRETS = ["cmdt_" + "aZ0-_" * 16, "v1," + "aB+/" * 10 + "abc=", "whsec_" + "aB+/" * 8, "cmdp_abcdefgh_" + "x" * 30]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", '{{"a":"{}"}}', "x{}", "a {} b", "é{}é"])
def test_a_secret_is_removed_wherever_it_appears(secret: str, around: str) -> None:
    masked = mask_secrets(around.format(secret))

    assert REMOVED in masked
    assert secret[8:] not in masked


def test_several_secrets_are_removed_and_other_text_stays() -> None:
    assert mask_secrets(" and ".join(SECRETS)) == " and ".join([REMOVED] * 4)
    assert mask_secrets("v1,short= cmdt_short whsec_ cmdp_a_b") == "v1,short= cmdt_short whsec_ cmdp_a_b"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_cannot_backtrack(shape: str) -> None:
    """Each shape begins with three literal letters, and nothing follows its one open-ended run."""
    parts: list[tuple[Any, Any]] = list(parser.parse(shape))

    open_ended = [index for index, (_, about) in enumerate(parts) if _is_open_ended(about)]
    assert [kind for kind, _ in parts[:3]] == [constants.LITERAL] * 3
    assert all(kind in (constants.LITERAL, constants.MAX_REPEAT) for kind, _ in parts)
    assert all(len(about[2]) == 1 for kind, about in parts if kind is constants.MAX_REPEAT)
    assert open_ended in ([], [len(parts) - 1])


def _is_open_ended(about: Any) -> bool:
    return isinstance(about, tuple) and about[1] is constants.MAXREPEAT
