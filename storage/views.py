"""`/v1/platform/storage/`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import InvalidInputError, PreconditionFailedError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.parsers import StrictJSONParser
from commands_platform.lib.http.preconditions import (
    ETAG,
    ETAG_HEADER,
    IF_MATCH,
    Condition,
    etag_of_text,
    read_if_match,
)
from commands_platform.lib.http.renderers import RawJson
from commands_platform.lib.json.strict_json import JsonValue, NestedTooDeeplyError
from organizations.quotas import QuotaExceededError
from storage import openapi, services
from storage.errors import MissingContextError, VersionConflictError
from storage.models import Bucket
from storage.serializers import (
    MAX_LIST_LENGTH,
    ItemExistsOutput,
    Operation,
    documented_input,
    item_page,
    read_operation,
)
from storage.services import StoredValue

_VERSION_HEADER = "X-Storage-Version"
_FOUND_HEADER = "X-Storage-Found"


def _get(bucket: Bucket, *, key: str) -> Response:
    stored = services.get_item(bucket=bucket, key=key)
    return _value(stored) if stored else Response({}, headers={_FOUND_HEADER: "false"})


def _set(bucket: Bucket, *, key: str, value: object, ttl: int | None = None, if_version: int | None = None) -> Response:
    return _value(services.set_item(bucket=bucket, key=key, value=value, ttl=_span(ttl), if_version=if_version))


def _delete(bucket: Bucket, *, key: str, if_version: int | None = None) -> Response:
    services.delete_item(bucket=bucket, key=key, if_version=if_version)
    return Response({})


def _exists(bucket: Bucket, *, key: str) -> Response:
    return Response(ItemExistsOutput.of(exists=services.has_item(bucket=bucket, key=key)))


def _list(bucket: Bucket, *, prefix: str = "", limit: int | None = None, cursor: str = "") -> Response:
    items, more = services.list_items(bucket=bucket, prefix=prefix, after=cursor, limit=limit or MAX_LIST_LENGTH)
    return Response(item_page(items, more=more))


def _increment(bucket: Bucket, *, key: str, amount: float, ttl: int | None = None) -> Response:
    return _value(services.increment_item(bucket=bucket, key=key, amount=amount, ttl=_span(ttl)))


def _get_many(bucket: Bucket, *, keys: dict[str, str]) -> Response:
    texts = services.get_items(bucket=bucket, keys=list(dict.fromkeys(keys.values())))
    return _values({given: texts[key] for given, key in keys.items() if key in texts})


def _set_many(bucket: Bucket, *, items: dict[str, tuple[str, object]], ttl: int | None = None) -> Response:
    texts = services.set_items(bucket=bucket, items=dict(items.values()), ttl=_span(ttl))
    return _values({given: texts[key] for given, (key, _) in items.items()})


def _delete_many(bucket: Bucket, *, keys: dict[str, str]) -> Response:
    services.delete_items(bucket=bucket, keys=keys.values())
    return Response({})


_OPERATIONS: dict[str, Callable[..., Response]] = {
    "get": _get,
    "set": _set,
    "delete": _delete,
    "exists": _exists,
    "list": _list,
    "increment": _increment,
    "get_many": _get_many,
    "set_many": _set_many,
    "delete_many": _delete_many,
}


_WRITES_OF_ONE = frozenset({"set", "delete", "increment"})
_WRITES_OF_MANY = frozenset({"set_many", "delete_many"})


class _StorageParser(StrictJSONParser):
    """Lets a value be nested as deeply as a body elsewhere, although `params` and `items` enclose it."""

    more_levels = 3

    def parse(self, *args: Any, **kwargs: Any) -> JsonValue:  # type: ignore[override]
        try:
            return super().parse(*args, **kwargs)
        except NestedTooDeeplyError as error:
            # The original API documents `details` for errors of a value.
            raise InvalidInputError(f"{error.reason}.") from error


class Storage(PlatformView):
    parser_classes = [_StorageParser]
    required_scope = Scope.STORAGE
    error_shape = "details"
    error_statuses = {VersionConflictError: 409}

    @extend_schema(
        operation_id="run_storage_operation",
        request=documented_input(),
        parameters=[
            OpenApiParameter(
                _VERSION_HEADER, int, OpenApiParameter.HEADER, response=[200],
                description="The item's version, on get, set and increment.",
            ),
            IF_MATCH,
            ETAG,
            OpenApiParameter(
                _FOUND_HEADER, str, OpenApiParameter.HEADER, response=[200],
                description="`false` if get found no item.",
            ),
        ],
        responses={200: OpenApiTypes.ANY},
        examples=openapi.EXAMPLES,
    )  # fmt: skip
    @raises(MissingContextError, MissingTokenError, VersionConflictError, PreconditionFailedError, QuotaExceededError)
    def post(self, request: ApiRequest) -> Response:
        """Reads and writes JSON values under keys.

        With a token, the items belong to its command and user. Without a token the request needs a `namespace`, which
        is a bucket of the API key's organization.

        | op | params | answer |
        |---|---|---|
        | `get` | `key` | the value; `{}` and `X-Storage-Found: false` if there is none |
        | `set` | `key`, `value`, optional `ttl` (seconds), `if_version` | the value |
        | `delete` | `key`, optional `if_version` | `{}` |
        | `exists` | `key` | `{"exists": …}` |
        | `list` | optional `prefix`, `limit`, `cursor` | `{"results": […], "next_cursor": …}`, without the values |
        | `increment` | `key`, optional `amount`, `ttl` for a new item | the sum |
        | `get_many` | `keys` | an object with the items that exist |
        | `set_many` | `items` (an object), optional `ttl` | the items |
        | `delete_many` | `keys` | `{}` |

        An operation on several items succeeds for all of them or for none. If the item does not have the version in
        `if_version`, the answer is 409 `version_conflict`. With `set`, 0 means that the item must not exist. `If-Match`
        works with `set`, `delete` and `increment`.
        """
        operation = read_operation(request)
        bucket = services.find_bucket(context=request.context, namespace=operation.namespace)
        run = partial(_OPERATIONS[operation.op], bucket, **operation.params)
        condition = read_if_match(request)
        return run() if condition is None else _run_if(condition, bucket, operation, run)


def _run_if(condition: Condition, bucket: Bucket, operation: Operation, run: Callable[[], Response]) -> Response:
    """Runs an operation that writes one item, if the item meets the condition. Reads are run in any case."""
    if operation.op in _WRITES_OF_MANY:
        raise InvalidInputError("If-Match is for operations on one item. Leave it out.")
    if operation.op not in _WRITES_OF_ONE:
        return run()
    with transaction.atomic():
        stored = services.lock_item(bucket=bucket, key=operation.params["key"])
        condition.check(_etag(stored) if stored else None)
        return run()


def _etag(stored: StoredValue) -> str:
    # An item that is deleted and made again begins again with version 1, so the version alone is not enough.
    return etag_of_text(f"{stored.version}:{stored.text}".encode())


def _value(stored: StoredValue) -> Response:
    return Response(RawJson(stored.text), headers={_VERSION_HEADER: str(stored.version), ETAG_HEADER: _etag(stored)})


def _values(texts: dict[str, str]) -> Response:
    return Response({key: RawJson(text) for key, text in texts.items()})


def _span(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
