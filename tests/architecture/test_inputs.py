"""The inputs of all endpoints are strict about JSON types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework import serializers

import tests.architecture.test_endpoints  # noqa: F401  # imports every view, and so every serializer

_INPUTS = ("Input", "Changes", "Filters", "Params")
# Each of these has a strict counterpart in `commands_platform.lib.http.fields`.
_LENIENT = {
    serializers.BooleanField,
    serializers.CharField,
    serializers.ChoiceField,
    serializers.DateTimeField,
    serializers.DictField,
    serializers.IntegerField,
    serializers.JSONField,
    serializers.ListField,
    serializers.UUIDField,
}


def _subclasses(of: type[Any]) -> Iterator[type[Any]]:
    for each in of.__subclasses__():
        yield each
        yield from _subclasses(each)


INPUTS = sorted(
    {
        each
        for each in _subclasses(serializers.Serializer)
        if each.__name__.endswith(_INPUTS) and not each.__module__.startswith(("rest_framework", "tests"))
    },
    key=lambda each: each.__qualname__,
)


@pytest.mark.parametrize("serializer", INPUTS, ids=lambda each: each.__name__)
def test_an_input_has_only_strict_fields(serializer: type[serializers.Serializer[Any]]) -> None:
    fields = serializer().fields.items()

    assert {name for name, field in fields if type(field) in _LENIENT} == set()
    assert {name for name, field in fields if type(getattr(field, "child", None)) in _LENIENT} == set()
