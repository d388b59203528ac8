"""Handles fields of a body that no serializer knows. They are ignored and named in the answer, or refused.

Clients written for other servers may send more than we know, so unknown fields are ignored by default, and the header
`X-Ignored-Fields` names them. `Prefer: handling=strict` (RFC 7240) asks for a 400 instead. A serializer can always
refuse some names: see `MeantFields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import quote

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

IGNORED_HEADER = "X-Ignored-Fields"
# Each name costs a comparison with all known ones, and space in a header.
MAX_NAMED_FIELDS = 50
MAX_NAME_SHOWN = 64
# High enough that `internal` is not taken for `interval`, and `schedule_id` not for `schedule`.
_CLOSE_TO_MEANT = 0.9

_NOTED = "_ignored_fields"
_STRICT = "handling=strict"
# The words of `delay_seconds`, `delay-seconds` and `delaySeconds`.
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


class MeantFields:
    """Decides for a serializer which known field an unknown name means, and which names are never ignored."""

    meant: ClassVar[Mapping[str, str]] = {}
    """The known field for each name that `folded` gives."""
    telling_words: ClassVar[frozenset[str]] = frozenset()
    """Names that mean the same field even as one word of a longer name."""

    def meant_by(self, name: str, known: Iterable[str]) -> str | None:
        """Returns the field that an unknown name means, even if it is misspelt or longer, or None."""
        meant = self.meant.get(folded(name)) or suggestion(name, known)
        if meant is None and len(name) <= MAX_NAME_SHOWN:
            closest = get_close_matches(folded(name), self.meant, n=1, cutoff=_CLOSE_TO_MEANT)
            telling = closest or [word for word in _words(name) if word in self.telling_words]
            meant = self.meant[telling[0]] if telling else None
        return meant

    def refuses(self, data: Mapping[str, Any], unknown: Iterable[str]) -> dict[str, str]:
        """Returns those of the unknown names that must not be ignored, each with its message."""
        return {}


class NamesIgnoredFields(APIView):
    """A view whose answers name the fields of the request that were ignored."""

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        noted = _noted(request)
        if noted:
            names = [_shown(name) for name in islice(noted, MAX_NAMED_FIELDS)]
            response[IGNORED_HEADER] = ", ".join([*names, "..."] if len(noted) > len(names) else names)
        if is_strict(request):
            response["Preference-Applied"] = _STRICT
        return response


def note_ignored(request: Request, names: Iterable[str]) -> None:
    """Notes that these fields had no effect, so that the answer says so."""
    setattr(request, _NOTED, _noted(request) | dict.fromkeys(names))


def _noted(request: Request) -> dict[str, None]:
    # `getattr` would look for a missing attribute in Django's request too, which is slow.
    noted: dict[str, None] = vars(request).get(_NOTED, {})
    return noted


def note(
    serializer: serializers.Serializer[Any], data: object, request: Request, *, within: str = ""
) -> dict[str, list[str]]:
    """Notes the unknown fields of a body on the request. Returns messages for those that must be refused instead."""
    if not isinstance(data, Mapping) or data.keys() <= _names_without_parts(serializer):
        return {}
    found = dict(islice(_unknown(serializer, data, f"{within}." if within else ""), MAX_NAMED_FIELDS + 1))
    if not found:
        return {}
    if is_strict(request):
        return {path: [_message(path, owner)] for path, owner in islice(found.items(), MAX_NAMED_FIELDS)}
    refused: dict[str, str] = {}
    if isinstance(serializer, MeantFields):
        refused = serializer.refuses(data, [name for name in data if name not in serializer.fields])
    note_ignored(request, (path for path in found if path not in refused))
    return {path: [message] for path, message in refused.items()}


def is_strict(request: Request) -> bool:
    """Returns whether the caller prefers a 400 to an ignored field."""
    prefer = request.META.get("HTTP_PREFER")
    if not prefer:
        return False
    preferences = (preference.partition(";")[0] for preference in prefer.lower().split(","))
    return any("".join(preference.split()).replace('"', "") == _STRICT for preference in preferences)


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that looks most like `name`, if one does."""
    if len(name) > MAX_NAME_SHOWN:
        return None
    by_folded = {folded(each): each for each in known}
    closest = get_close_matches(folded(name), by_folded, n=1, cutoff=0.8)
    return by_folded[closest[0]] if closest else None


def folded(name: str) -> str:
    """Returns the name without differences of style. `runAt`, `run-at` and `run_at` become the same."""
    return name.lower().replace("_", "").replace("-", "")


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


@lru_cache(maxsize=256)
def _names_without_parts(serializer: serializers.Serializer[Any]) -> frozenset[str]:
    """Returns the names of fields whose values have no fields themselves. Most bodies have only such fields."""
    parts = (serializers.Serializer, serializers.ListSerializer)
    return frozenset(
        name for name, field in serializer.fields.items() if not field.read_only and not isinstance(field, parts)
    )


def _unknown(
    serializer: serializers.Serializer[Any], data: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, serializers.Serializer[Any]]]:
    """Yields the path of each unknown field with the serializer that does not know it."""
    fields = serializer.fields
    for name, value in data.items():
        field = fields.get(name)
        if field is None or field.read_only:
            yield f"{prefix}{name}", serializer
        elif isinstance(field, serializers.Serializer) and isinstance(value, Mapping):
            yield from _unknown(field, value, f"{prefix}{name}.")
        elif isinstance(field, serializers.ListSerializer) and isinstance(value, list):
            child = field.child
            for index, item in enumerate(value):
                if isinstance(child, serializers.Serializer) and isinstance(item, Mapping):
                    yield from _unknown(child, item, f"{prefix}{name}.{index}.")


def _message(path: str, serializer: serializers.Serializer[Any]) -> str:
    name, known = path.rpartition(".")[2], serializer.fields
    if isinstance(serializer, MeantFields):
        return unknown_message(serializer.meant_by(name, known))
    return unknown_message(suggestion(name, known))


def unknown_message(meant: str | None) -> str:
    """Returns what is said of an unknown field, with the way out where one is known."""
    return f"Unknown field. Did you mean `{meant}`?" if meant else "Unknown field."


def _shown(name: str) -> str:
    # A header has no blanks at its ends and no line breaks. Names in it have no commas, and only letters of Latin-1.
    return quote(name[:MAX_NAME_SHOWN], safe="[]@$") + ("..." if len(name) > MAX_NAME_SHOWN else "")
