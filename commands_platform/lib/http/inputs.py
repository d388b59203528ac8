"""Reads a request's body or query string with a serializer that checks its shape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http import unknown_fields

_Serializer = TypeVar("_Serializer", bound=serializers.Serializer[Any])


class QueryValues(dict[str, Any]):
    """The checked values of a query string, and the serializer that has read them."""

    def __init__(self, values: Mapping[str, Any], serializer: type[serializers.Serializer[Any]]) -> None:
        super().__init__(values)
        self.serializer = serializer


def read_body(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """Returns the checked values of the body, and the defaults of fields that are missing.

    Unknown fields are refused, or noted on the request so that the answer names them. Raises REST framework's
    ValidationError.
    """
    return read_part(serializer, request.data, request)


def read_part(
    serializer: type[serializers.Serializer[Any]], data: Any, request: Request, *, within: str = ""
) -> dict[str, Any]:
    """Does the same for the part of the body whose name is `within`."""
    if data is None:
        raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: ["No data provided"]})
    reader = instance_of(serializer)
    refused = unknown_fields.note(reader, data, request, within=within)
    if not refused:
        values: dict[str, Any] = reader.run_validation(data)
        return values
    errors: dict[str, Any] = dict(refused)
    try:
        reader.run_validation(data)
    except serializers.ValidationError as error:
        if isinstance(error.detail, dict):
            errors |= error.detail
    raise serializers.ValidationError(errors)


def read_query(
    serializer: type[serializers.Serializer[Any]], request: HttpRequest, *, ignore_unknown: bool = False
) -> QueryValues:
    """Returns the checked values of the query string, and the defaults of parameters that are missing.

    Raises REST framework's ValidationError, and UnknownParameterError for a name that is not one of the serializer's
    fields. `ignore_unknown` is for the documented paths, whose clients may send other parameters.
    """
    reader = instance_of(serializer)
    if not ignore_unknown:
        unknown = next((name for name in request.GET if name not in reader.fields), None)
        if unknown is not None:
            raise UnknownParameterError(unknown, reader.fields)
    return QueryValues(reader.run_validation(request.GET), serializer)


@cache
def instance_of(serializer: type[_Serializer]) -> _Serializer:
    """Returns the instance of a serializer that all requests share.

    It is made without data, so it keeps none. Making a new instance would cost more than using it.
    """
    return serializer()
