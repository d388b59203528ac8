"""The bodies of the storage endpoint."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from commands_platform.lib.http.fields import (
    AnyJsonField,
    BoundedListField,
    InstantField,
    JsonObjectField,
    StrictCharField,
    StrictChoiceField,
    StrictIntegerField,
)
from commands_platform.lib.http.inputs import read_body, read_part
from commands_platform.lib.http.outputs import Output
from commands_platform.lib.text import refusal_of
from storage.models import Item

MAX_KEY_LENGTH = 255
MAX_KEYS = 100
MAX_LIST_LENGTH = 250
MAX_TTL = timedelta(days=3653)

_MAX_VERSION = 2**63 - 1


class KeyField(StrictCharField):
    """A key of 1 to 255 characters. It is normalized to NFC and keeps its spaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_KEY_LENGTH, trim_whitespace=False, **kwargs)


class KeysField(BoundedListField):
    """An array of 1 to 100 keys. Its value maps each key as the request spells it to the key as it is stored."""

    def __init__(self) -> None:
        messages = {"max_length": "There may be {max_length} keys at most. Ask for the others in another request."}
        super().__init__(
            child=KeyField(), allow_empty=False, min_length=1, max_length=MAX_KEYS, error_messages=messages
        )

    def to_internal_value(self, data: Any) -> Any:
        return dict(zip(data, super().to_internal_value(data), strict=True))


class ItemsField(JsonObjectField):
    """An object of 1 to 100 keys and their values.

    Its value maps each key as the request spells it to a pair: the key as it is stored, and the value.
    """

    default_error_messages = {
        "too_many": f"There may be {MAX_KEYS} keys at most. Send the others in another request.",
        "key": "The key {given!r} is not valid: {reason}",
        "same_key": "The key {given!r} appears twice, in two spellings. Send it once.",
    }
    _key = KeyField()

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        given = super().to_internal_value(data)
        if not given:
            self.fail("empty")
        if len(given) > MAX_KEYS:
            self.fail("too_many")
        items: dict[str, tuple[str, Any]] = {}
        seen: set[str] = set()
        for text, value in given.items():
            key = self._normalized(text)
            if key in seen:
                self.fail("same_key", given=key)
            seen.add(key)
            items[text] = (key, value)
        return items

    def _normalized(self, text: str) -> str:
        try:
            return str(self._key.run_validation(text))
        except serializers.ValidationError as error:
            shown = text if len(text) <= 50 else text[:50] + "…"
            detail = error.detail
            self.fail("key", given=shown, reason=detail[0] if isinstance(detail, list) else detail)


class NumberField(serializers.FloatField):
    """A JSON number. An integer stays an integer."""

    default_error_messages = {"invalid": "A valid number is required."}

    def to_internal_value(self, data: Any) -> int | float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return data


class CursorField(StrictCharField):
    """The `next_cursor` of an earlier page. It encodes the last key of that page."""

    default_error_messages = {"invalid": "This is not a cursor of a list."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(null_is_empty=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        try:
            key = base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True).decode()
        except ValueError:
            self.fail("invalid")
        if len(key) > MAX_KEY_LENGTH or refusal_of(key):
            self.fail("invalid")
        return key


def _ttl_field(help_text: str) -> StrictIntegerField:
    seconds = int(MAX_TTL.total_seconds())
    return StrictIntegerField(required=False, allow_null=True, min_value=1, max_value=seconds, help_text=help_text)


class KeyParams(serializers.Serializer[Item]):
    key = KeyField()


class SetParams(serializers.Serializer[Item]):
    key = KeyField()
    value = AnyJsonField()
    ttl = _ttl_field("Seconds until the item expires; without it the item never expires.")
    if_version = StrictIntegerField(
        required=False, allow_null=True, min_value=0, max_value=_MAX_VERSION,
        help_text="Write only over this version; 0: only if there is no such item.",
    )  # fmt: skip


class DeleteParams(serializers.Serializer[Item]):
    key = KeyField()
    if_version = StrictIntegerField(
        required=False, allow_null=True, min_value=1, max_value=_MAX_VERSION, help_text="Delete only this version."
    )


class IncrementParams(serializers.Serializer[Item]):
    key = KeyField()
    amount = NumberField(default=1)
    ttl = _ttl_field("Seconds until a new item expires; an item that exists keeps its own time.")


class ListParams(serializers.Serializer[Item]):
    prefix = KeyField(null_is_empty=True)
    limit = StrictIntegerField(required=False, allow_null=True, min_value=1, max_value=MAX_LIST_LENGTH)
    cursor = CursorField()


class KeysParams(serializers.Serializer[Item]):
    keys = KeysField()


class SetManyParams(serializers.Serializer[Item]):
    items = ItemsField()
    ttl = _ttl_field("Seconds until the items expire; without it they never expire.")


PARAMS: dict[str, type[serializers.Serializer[Item]]] = {
    "get": KeyParams,
    "set": SetParams,
    "delete": DeleteParams,
    "exists": KeyParams,
    "list": ListParams,
    "increment": IncrementParams,
    "get_many": KeysParams,
    "set_many": SetManyParams,
    "delete_many": KeysParams,
}


class StorageInput(serializers.Serializer[Item]):
    """An operation with its parameters, and the namespace of the items, if any."""

    op = StrictChoiceField(choices=list(PARAMS))
    params = JsonObjectField()
    namespace = KeyField(null_is_empty=True)


def documented_input() -> PolymorphicProxySerializer:
    """Returns the StorageInput of the OpenAPI schema, which describes the `params` of each operation."""
    variants: dict[str, serializers.Serializer[Any] | type[serializers.Serializer[Any]]] = {
        op: inline_serializer(
            f"Storage{op.title().replace('_', '')}",
            {"op": StrictChoiceField(choices=[op]), "params": params(), "namespace": KeyField(null_is_empty=True)},
        )
        for op, params in PARAMS.items()
    }
    return PolymorphicProxySerializer("StorageInput", serializers=variants, resource_type_field_name="op")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that a request asks for. `params` has only the parameters that were given."""

    op: str
    params: dict[str, Any]
    namespace: str


def read_operation(request: Request) -> Operation:
    """Returns the operation of a request's body. Raises REST framework's ValidationError."""
    values = read_body(StorageInput, request)
    op = values["op"]
    params = read_part(PARAMS[op], values["params"], request, within="params")
    return Operation(op, params, values.get("namespace", ""))


class ItemOutput(Output[Item]):
    """An item as a list shows it, without its value."""

    key = serializers.CharField()
    version = serializers.IntegerField()
    expires_at = InstantField(allow_null=True)
    created_at = InstantField()
    updated_at = InstantField()


class ItemPageOutput(Output[Item]):
    """A page of a list. `next_cursor` is null on the last page."""

    results = ItemOutput(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ItemExistsOutput(Output[Item]):
    exists = serializers.BooleanField()


def item_page(items: Sequence[Item], *, more: bool) -> dict[str, object]:
    """Returns the answer of `list`."""
    return ItemPageOutput.of(results=items, next_cursor=_cursor_after(items[-1].key) if more else None)


def _cursor_after(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
