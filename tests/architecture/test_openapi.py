"""Rules for every operation of the OpenAPI document."""

from __future__ import annotations

import re

import pytest
from openapi_spec_validator import validate

from tests.openapi.document import Operation, answer_examples, document, errors_of, operations

OPERATIONS = operations()
IDS = [operation.id for operation in OPERATIONS]


def test_the_document_is_valid_openapi() -> None:
    assert document()["openapi"].startswith("3.1")
    validate(document())


def test_operation_ids_are_unique() -> None:
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_an_operation_id_is_a_valid_method_name(operation: Operation) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation.id)


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_an_operation_has_a_summary_and_a_description(operation: Operation) -> None:
    assert operation.spec["summary"]
    assert operation.spec["description"]
    assert len(operation.spec["summary"]) <= 120
    assert re.match(r"[A-Z][a-z]+s\b", operation.spec["summary"]), "begin its docstring with a verb: Returns, Lists, …"


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_an_operation_has_one_tag_that_is_described(operation: Operation) -> None:
    (tag,) = operation.spec["tags"]
    described = {tag["name"]: tag["description"] for tag in document()["tags"]}
    assert described[tag] != tag, "describe the tag in lib/http/schema_hooks.py"


WITH_BODY = [operation for operation in OPERATIONS if "requestBody" in operation.spec]


@pytest.mark.parametrize("operation", WITH_BODY, ids=[operation.id for operation in WITH_BODY])
def test_an_operation_with_a_body_has_an_example_of_it(operation: Operation) -> None:
    content = operation.spec["requestBody"]["content"]["application/json"]

    assert content["examples"], "give extend_schema its examples"


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_an_operation_declares_its_errors_with_their_bodies(operation: Operation) -> None:
    wanted = {"400", "401", "403", "429"}
    wanted |= {"404"} if "{" in operation.path else set()
    wanted |= {"413", "415"} if "requestBody" in operation.spec else set()

    responses = operation.spec["responses"]
    assert wanted <= set(responses)
    for status in wanted:
        assert responses[status]["content"]["application/json"]["examples"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_an_operation_names_its_security(operation: Operation) -> None:
    assert operation.spec["security"] == [{"ApiKey": []}, {"ApiKey": [], "ExchangeToken": []}]


# Activity is documented as an array without an envelope.
LISTS = [operation for operation in OPERATIONS if operation.id.startswith("list_") and operation.id != "list_activity"]


@pytest.mark.parametrize("operation", LISTS, ids=[operation.id for operation in LISTS])
def test_a_list_is_an_envelope(operation: Operation) -> None:
    schema = operation.spec["responses"]["200"]["content"]["application/json"]["schema"]
    component = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert {"next", "results"} <= set(component["properties"])


@pytest.mark.parametrize(
    ("schema", "value"), [case[1:] for case in answer_examples()], ids=[case[0] for case in answer_examples()]
)
def test_an_example_of_an_answer_fits_its_schema(schema: dict[str, object], value: object) -> None:
    assert errors_of(value, schema) == []


def test_callbacks_are_documented_with_their_headers() -> None:
    (create,) = (operation for operation in OPERATIONS if operation.id == "create_schedule")
    run = create.spec["callbacks"]["run"]["{$request.body#/callback_url}"]["post"]
    event = document()["webhooks"]["event"]["post"]

    for sent in (run, event):
        names = [parameter["name"] for parameter in sent["parameters"]]
        assert names == [
            "webhook-id", "webhook-timestamp", "webhook-signature", "X-DailyBot-Signature", "X-Correlation-Id",
        ]  # fmt: skip
        assert sent["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert set(sent["responses"]) == {"2XX", "4XX", "5XX"}
