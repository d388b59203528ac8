"""Every example of the OpenAPI document works, and every answer has exactly the keys that the document declares."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from auth_tokens.scopes import Scope
from tests.api import ApiClient, ApiResponse
from tests.architecture.test_endpoints import DOCUMENTED, methods_of
from tests.openapi.document import Example, Operation, document, errors_of, operations, path_with_examples, requests
from tests.openapi.world import MAKERS, populate

pytestmark = pytest.mark.django_db

OPERATIONS = operations()
EXAMPLES = requests()


@pytest.fixture
def client(alice: ApiClient) -> ApiClient:
    populate(alice)
    return ApiClient(alice.caller.with_scopes(*Scope.values))


def send(client: ApiClient, example: Example, **options: Any) -> ApiResponse:
    if example.operation.id == "fetch_exchange_token":
        # A key with every scope is not bound to a command.
        options["key"] = client.caller.with_scopes("AUTH_FETCH_EXCHANGE_TOKEN").key
    return client.request(example.operation.method, path_with_examples(example.operation), example.body, **options)


def undeclared(operation: Operation, response: ApiResponse) -> list[str]:
    """Returns the differences between an answer and the document."""
    declared = operation.spec["responses"].get(str(response.status_code))
    if declared is None:
        return [f"The status {response.status_code} is not declared: {response.content!r}"]
    if "content" not in declared:
        return [f"There is a body: {response.content!r}"] if response.content else []
    schema = declared["content"]["application/json"]["schema"]
    return errors_of(response.json(), schema)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{each.operation.id}: {each.name}" for each in EXAMPLES])
def test_an_example_works_unchanged_and_is_answered_as_declared(client: ApiClient, example: Example) -> None:
    response = send(client, example)

    assert 200 <= response.status_code < 300, response.content
    assert undeclared(example.operation, response) == []


EXPANDABLE = [
    (operation, parameter["schema"]["items"]["enum"])
    for operation in OPERATIONS
    for parameter in operation.spec.get("parameters", ())
    if parameter["name"] == "expand"
]


@pytest.mark.parametrize(("operation", "names"), EXPANDABLE, ids=[operation.id for operation, _ in EXPANDABLE])
def test_optional_fields_are_answered_as_declared(client: ApiClient, operation: Operation, names: list[str]) -> None:
    response = client.request(operation.method, f"{path_with_examples(operation)}?expand={','.join(names)}")

    assert response.status_code == 200
    assert undeclared(operation, response) == []
    assert all(f'"{name}"' in response.content.decode() for name in names)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.id for operation in OPERATIONS])
def test_each_error_is_answered_as_declared(client: ApiClient, mallory: ApiClient, operation: Operation) -> None:
    path, body = path_with_examples(operation), b"{}" if "requestBody" in operation.spec else None
    answers = [
        client.request(operation.method, path, raw=body, key=None),
        client.request(operation.method, path, raw=body, key="cmdp_unknown"),
        ApiClient(client.caller.with_scopes()).request(operation.method, path, raw=body),
        client.request(operation.method, path, raw=body, token=None),
        client.request(operation.method, path, raw=body, headers={"X-EXCHANGE-TOKEN": "void"}),
        mallory.request(operation.method, path, raw=body),
        client.request(operation.method, f"{path.partition('?')[0]}?limit=x&unknown=1"),
    ]
    if body is not None:
        answers += [
            client.request(operation.method, path, raw=b"{"),
            client.request(operation.method, path, raw=b"[1]"),
            client.request(operation.method, path, raw=b'{"a":"' + b"x" * 1024 * 1024 + b'"}'),
            client.request(operation.method, path, raw=b"{}", headers={"Content-Encoding": "gzip"}),
        ]

    assert [undeclared(operation, answer) for answer in answers] == [[]] * len(answers)
    assert {401, 403} <= {answer.status_code for answer in answers}


def test_each_kind_of_object_that_a_path_names_is_created_for_the_examples() -> None:
    segments = {
        match.group(1) for operation in OPERATIONS for match in re.finditer(r"([\w-]+)/\{\w+\}", operation.path)
    }

    assert segments == set(MAKERS), "make the object in tests/openapi/world.py"


def test_every_route_of_the_api_is_in_the_document() -> None:
    routes = {
        (method.upper(), "/" + re.sub(r"<str:(\w+)>", r"{\1}", route))
        for route in DOCUMENTED
        for method in methods_of(route)
    }
    assert routes == {(operation.method, operation.path) for operation in OPERATIONS}


def test_an_undeclared_key_would_be_found() -> None:
    schema = {"$ref": "#/components/schemas/ScheduledExecutionCreated"}

    assert errors_of({"uuid": str(uuid4())}, schema) == []
    assert "more" in errors_of({"uuid": str(uuid4()), "more": 1}, schema)[0]
    assert "uuid" in errors_of({}, schema)[0]


def test_the_document_is_public_and_built_once(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        first, second = Client().get("/v1/schema/"), Client().get("/v1/schema")

    assert first["Content-Type"] == "application/vnd.oai.openapi+json"
    assert first.json() == json.loads(json.dumps(document()))
    assert second.content == first.content
