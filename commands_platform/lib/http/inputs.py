"""Reads a request's body or query string with a serializer that checks its shape."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeVar

from django.http import HttpRequest, QueryDict
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http import unknown_fields
from commands_platform.lib.http.fields import InstantField

_Serializer = TypeVar("_Serializer", bound=serializers.Serializer[Any])


# An unencoded `+` in a query string arrives as a blank.
_BLANK_OFFSET = re.compile(r" (\d{2}:?\d{2})\Z", re.ASCII)


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
) -> dict[str, Any]:
    """Returns the checked values of the query string, and the defaults of parameters that are missing.

    A blank before the offset of an instant is read as `+`. Raises REST framework's ValidationError, and
    UnknownParameterError for a name that is not one of the serializer's fields. `ignore_unknown` is for the documented
    lists, whose clients may send other parameters.
    """
    if not ignore_unknown:
        known = instance_of(serializer).fields
        unknown = next((name for name in request.GET if name not in known), None)
        if unknown is not None:
            raise UnknownParameterError(unknown, known)
    values: dict[str, Any] = instance_of(serializer).run_validation(_with_plus(serializer, request.GET))
    return values


def _with_plus(serializer: type[serializers.Serializer[Any]], query: QueryDict) -> QueryDict:
    """Returns the query with the `+` of its instants restored."""
    restored = {}
    for name, field in instance_of(serializer).fields.items():
        text = query.get(name)
        if isinstance(field, InstantField) and isinstance(text, str) and " " in text:
            restored[name] = _BLANK_OFFSET.sub(r"+\1", text)
    if restored:
        # It stays a QueryDict, because REST framework treats an empty parameter of a QueryDict as missing.
        query = query.copy()
        for name, text in restored.items():
            query[name] = text
    return query


@cache
def instance_of(serializer: type[_Serializer]) -> _Serializer:
    """Returns the instance of a serializer that all requests share.

    It is made without data, so it keeps none. Making a new instance would cost more than using it.
    """
    return serializer()
