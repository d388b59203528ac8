"""Reads a request's body or query string with a serializer that checks its shape."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.settings import api_settings

from commands_platform.lib.errors import UnknownParameterError

_Serializer = TypeVar("_Serializer", bound=serializers.Serializer[Any])


def read_input(serializer: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """Returns the values that were given, checked, and the defaults of the others.

    Raises REST framework's ValidationError.
    """
    if data is None:
        raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: ["No data provided"]})
    values: dict[str, Any] = instance_of(serializer).run_validation(data)
    return values


def read_query(
    serializer: type[serializers.Serializer[Any]], request: HttpRequest, *, ignore_unknown: bool = False
) -> dict[str, Any]:
    """Returns the query string's values, checked, and the defaults of the others.

    Raises REST framework's ValidationError, and UnknownParameterError for a name that is not one of the serializer's
    fields. `ignore_unknown` is for the documented lists, whose clients may send parameters of their own.
    """
    if not ignore_unknown:
        known = instance_of(serializer).fields
        unknown = next((name for name in request.GET if name not in known), None)
        if unknown is not None:
            raise UnknownParameterError(unknown, known)
    return read_input(serializer, request.GET)


@cache
def instance_of(serializer: type[_Serializer]) -> _Serializer:
    """Returns the one instance of a serializer that serves all requests.

    It is given no data, so it keeps none; making a new one would cost more than running it.
    """
    return serializer()
