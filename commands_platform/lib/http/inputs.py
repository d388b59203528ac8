"""What a request's body or query says, once a serializer has checked its shape."""

from __future__ import annotations

from functools import cache
from typing import Any

from rest_framework import serializers
from rest_framework.settings import api_settings


def read_input(serializer: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """The values that were given, checked, and the defaults of the others. Raises REST framework's ValidationError."""
    if data is None:
        raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: ["No data provided"]})
    values: dict[str, Any] = _instance(serializer).run_validation(data)
    return values


@cache
def _instance(serializer: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    # One that is given no data keeps none, so it serves all requests: to make one costs more than to run it.
    return serializer()
