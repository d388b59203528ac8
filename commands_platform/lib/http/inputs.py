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


# A query string's bare `+` arrives as a blank.
_BLANK_OFFSET = re.compile(r" (\d{2}:?\d{2})\Z", re.ASCII)


def read_body(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """Returns the values that were given, checked, and the defaults of the others.

    Fields that the serializer does not know are noted on the request, and its answer names them; or they are refused.
    Raises REST framework's ValidationError.
    """
    return read_part(serializer, request.data, request)


def read_part(
    serializer: type[serializers.Serializer[Any]], data: Any, request: Request, *, within: str = ""
) -> dict[str, Any]:
    """Does the same for a part of the body, which stands under the name `within`."""
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
    """Returns the query string's values, checked, and the defaults of the others.

    A blank before the offset of an instant counts as the bare `+` that it was.
    Raises REST framework's ValidationError, and UnknownParameterError for a name that is not one of the serializer's
    fields. `ignore_unknown` is for the documented lists, whose clients may send parameters of their own.
    """
    if not ignore_unknown:
        known = instance_of(serializer).fields
        unknown = next((name for name in request.GET if name not in known), None)
        if unknown is not None:
            raise UnknownParameterError(unknown, known)
    values: dict[str, Any] = instance_of(serializer).run_validation(_with_plus(serializer, request.GET))
    return values


def _with_plus(serializer: type[serializers.Serializer[Any]], query: QueryDict) -> QueryDict:
    """Returns the query with the `+` of its instants."""
    restored = {}
    for name, field in instance_of(serializer).fields.items():
        text = query.get(name)
        if isinstance(field, InstantField) and isinstance(text, str) and " " in text:
            restored[name] = _BLANK_OFFSET.sub(r"+\1", text)
    if restored:
        # It stays a QueryDict: REST framework takes an empty parameter of one for a parameter that is not there.
        query = query.copy()
        for name, text in restored.items():
            query[name] = text
    return query


@cache
def instance_of(serializer: type[_Serializer]) -> _Serializer:
    """Returns the one instance of a serializer that serves all requests.

    It is given no data, so it keeps none; making a new one would cost more than running it.
    """
    return serializer()
