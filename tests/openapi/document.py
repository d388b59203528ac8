"""The OpenAPI document that the server serves, and its examples."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator


class Operation(NamedTuple):
    method: str
    path: str
    spec: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.spec["operationId"])


class Example(NamedTuple):
    operation: Operation
    name: str
    body: Any


@cache
def document() -> dict[str, Any]:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    made: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


def operations() -> list[Operation]:
    return [
        Operation(method.upper(), path, spec)
        for path, path_item in document()["paths"].items()
        for method, spec in path_item.items()
    ]


def path_with_examples(operation: Operation) -> str:
    """Returns the path with an example for each parameter in it, and with the query parameters that have examples."""
    path, query = operation.path, {}
    for parameter in operation.spec.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif parameter["in"] == "query" and "examples" in parameter:
            query[parameter["name"]] = next(iter(parameter["examples"].values()))["value"]
    return f"{path}?{urlencode(query)}" if query else path


def requests() -> list[Example]:
    """Returns a request for each example of a body, and one for each operation without a body."""
    found = []
    for operation in operations():
        content = operation.spec.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            found.append(Example(operation, "without a body", None))
        else:
            found += [Example(operation, name, example["value"]) for name, example in content["examples"].items()]
    return found


def answer_examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yields a label, the schema and the value of each example of an answer."""
    for operation in operations():
        for status, response in operation.spec["responses"].items():
            for media in response.get("content", {}).values():
                for name, example in media.get("examples", {}).items():
                    yield f"{operation.id} {status} {name}", media["schema"], example["value"]


def errors_of(value: Any, schema: dict[str, Any]) -> list[str]:
    """Returns the differences between a value and its schema: keys too many, keys missing, wrong types."""
    validator = Draft202012Validator(
        {**schema, "components": _strict_components()}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@cache
def _strict_components() -> dict[str, Any]:
    """Returns the components, changed so that undeclared keys are errors."""
    components: dict[str, Any] = deepcopy(document()["components"])
    for schema in components["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return components
