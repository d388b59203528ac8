from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from commands_platform.lib.errors import (
    BadRequestError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    PlatformError,
)
from commands_platform.lib.json.strict_json import MalformedJsonError, PayloadTooLargeError
from tests.lib.kernel_urls import OpenView


class MissingTokenError(BadRequestError):
    """You should specify a valid exchange token"""

    code = "missing_token"


class UserUnknownError(PlatformError):
    """Could not find the user related to "user_uuid\""""

    code = "user_unknown"


class GuestUnknownError(NotFoundError):
    """No such guest."""


class KeyInput(serializers.Serializer[Any]):
    key = serializers.CharField()
    tags = serializers.ListField(child=serializers.IntegerField(), required=False)


class NestedInput(serializers.Serializer[Any]):
    params = KeyInput()
    items = KeyInput(many=True, required=False)

    def validate(self, _attrs: Any) -> Any:
        raise serializers.ValidationError("These do not go together.")


def answer_to(
    error: Exception | Callable[[], object], *, error_shape: str | None = None, **attributes: Any
) -> tuple[Response, Any]:
    """Returns the response to a request whose view raises the error, and its parsed body."""

    class View(OpenView):
        def get(self, _request: Request) -> Response:
            if isinstance(error, Exception):
                raise error
            return Response(error())

    initkwargs = attributes | ({"error_shape": error_shape} if error_shape else {})
    for name in initkwargs:
        setattr(View, name, None)
    response = View.as_view(**initkwargs)(APIRequestFactory().get("/v1/x/"))
    response.render()
    return response, json.loads(response.content)


def invalid(serializer: type[serializers.Serializer[Any]], data: Any) -> Callable[[], object]:
    return lambda: serializer(data=data).is_valid(raise_exception=True)


NOT_FOUND = {"detail": "Not found.", "code": "not_found"}


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (MissingTokenError(), 400, {"detail": "You should specify a valid exchange token", "code": "missing_token"}),
        (PermissionDeniedError("No."), 403, {"detail": "No.", "code": "permission_denied"}),
        (PlatformError(), 400, {"detail": "The request could not be carried out.", "code": "error"}),
        (NotFoundError(), 404, NOT_FOUND),
        (GuestUnknownError(), 404, NOT_FOUND),
        (Http404("No ScheduledExecution matches the given query."), 404, NOT_FOUND),
        (exceptions.NotFound("secret"), 404, NOT_FOUND),
        (
            exceptions.NotAuthenticated(),
            401,
            {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"},
        ),
        (
            exceptions.AuthenticationFailed("Invalid API key"),
            401,
            {"detail": "Invalid API key", "code": "authentication_failed"},
        ),
        (
            exceptions.PermissionDenied("Not in scope.", code="insufficient_scope"),
            403,
            {"detail": "Not in scope.", "code": "insufficient_scope"},
        ),
        (
            PermissionDenied("secret"),
            403,
            {"detail": "You do not have permission to perform this action.", "code": "permission_denied"},
        ),
        (exceptions.ParseError("Broken."), 400, {"detail": "Broken.", "code": "parse_error"}),
        (
            exceptions.UnsupportedMediaType("text/plain"),
            415,
            {"detail": 'Unsupported media type "text/plain" in request.', "code": "unsupported_media_type"},
        ),
        (
            PayloadTooLargeError(9),
            413,
            {"detail": "The request body may have 9 bytes at most. Send less at a time.", "code": "payload_too_large"},
        ),
        (
            MalformedJsonError("Trailing comma", line=1, column=3),
            400,
            {"detail": "JSON parse error - Trailing comma: line 1 column 3", "code": "parse_error"},
        ),
        (exceptions.APIException({"a": ["b"]}), 500, {"detail": "b", "code": "error"}),
        (
            InvalidInputError(errors={"cron": ["It never fires.", "Really."], "name": ["Too long."]}),
            400,
            {
                "detail": "It never fires.",
                "code": "params_validation_error",
                "errors": {"cron": ["It never fires.", "Really."], "name": ["Too long."]},
            },
        ),
        (
            InvalidInputError("Not both."),
            400,
            {"detail": "Not both.", "code": "params_validation_error", "errors": {"non_field_errors": ["Not both."]}},
        ),
    ],
)
def test_each_error_has_its_own_status_and_body(error: Exception, status: int, body: object) -> None:
    response, found = answer_to(error)

    assert response.status_code == status
    assert found == body
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("error", [exceptions.NotAuthenticated(), exceptions.AuthenticationFailed()])
def test_a_401_says_how_to_authenticate(error: Exception) -> None:
    response, _ = answer_to(error)

    assert response["WWW-Authenticate"] == 'Api-Key realm="Commands Platform"'


def test_a_401_names_the_scheme_of_the_views_authenticator() -> None:
    class ByKey(exceptions.NotAuthenticated):
        auth_header = 'X realm="y"'

    response, _ = answer_to(ByKey())

    assert response["WWW-Authenticate"] == 'X realm="y"'


@pytest.mark.parametrize(("wait", "header"), [(2.2, "3"), (None, "5")])
def test_a_throttled_client_is_told_when_to_retry(wait: float | None, header: str) -> None:
    response, body = answer_to(exceptions.Throttled(wait))

    assert response.status_code == 429
    assert response["Retry-After"] == header
    assert body["code"] == "throttled"


def test_an_error_about_a_method_lists_the_allowed_ones() -> None:
    response = OpenView.as_view()(APIRequestFactory().post("/v1/x/"))
    response.render()

    assert response.status_code == 405
    assert json.loads(response.content) == {
        "detail": 'Method "POST" not allowed. Allowed here: OPTIONS.',
        "code": "method_not_allowed",
    }
    assert response["Allow"] == "OPTIONS"


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ({}, {"params": ["This field is required."]}),
        ([], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
        ({"params": {}}, {"params.key": ["This field is required."]}),
        ({"params": 5}, {"params": ["Invalid data. Expected a dictionary, but got int."]}),
        (
            {"params": {"key": "", "tags": [1, "x", {}]}},
            {
                "params.key": ["This field may not be blank."],
                "params.tags.1": ["A valid integer is required."],
                "params.tags.2": ["A valid integer is required."],
            },
        ),
        (
            {"params": {"key": "k"}, "items": [{"key": "k"}, {}, 5]},
            {
                "items.1.key": ["This field is required."],
                "items.2": ["Invalid data. Expected a dictionary, but got int."],
            },
        ),
        ({"params": {"key": "k"}}, {"non_field_errors": ["These do not go together."]}),
    ],
)
def test_validation_errors_name_each_field_by_its_path(data: Any, errors: dict[str, list[str]]) -> None:
    response, body = answer_to(invalid(NestedInput, data))

    assert response.status_code == 400
    assert body == {
        "detail": next(iter(errors.values()))[0],
        "code": "params_validation_error",
        "errors": errors,
    }


def test_the_number_of_reported_errors_is_limited() -> None:
    _, body = answer_to(invalid(KeyInput, {"key": "k", "tags": ["x"] * 1000}))

    assert len(body["errors"]) == 50


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (invalid(KeyInput, {}), "key: This field is required."),
        (invalid(KeyInput, {"key": "k", "tags": ["x"]}), "tags.0: A valid integer is required."),
        (invalid(KeyInput, []), "Invalid data. Expected a dictionary, but got list."),
        (exceptions.ValidationError("Unknown op."), "Unknown op."),
        (InvalidInputError(errors={"ttl": ["Too long."]}), "ttl: Too long."),
        (InvalidInputError("The value is too large.", errors={"value": ["Too large."]}), "The value is too large."),
        (InvalidInputError("Unknown op."), "Unknown op."),
    ],
)
def test_with_the_details_shape_a_validation_error_is_one_message(error: Any, message: str) -> None:
    response, body = answer_to(error, error_shape="details")

    assert response.status_code == 400
    assert body == {"details": message}


def test_with_the_details_shape_other_errors_keep_their_shape() -> None:
    _, body = answer_to(MissingTokenError(), error_shape="details")

    assert body == {"detail": "You should specify a valid exchange token", "code": "missing_token"}


def test_a_view_sets_the_status_of_errors_of_its_own_app() -> None:
    response, body = answer_to(GuestUnknownError(), error_statuses={GuestUnknownError: 409})

    assert response.status_code == 409
    assert body == {"detail": "No such guest.", "code": "not_found"}


def test_a_406_has_no_code() -> None:
    response, body = answer_to(UserUnknownError(), error_statuses={UserUnknownError: 406})

    assert response.status_code == 406
    assert body == {"detail": 'Could not find the user related to "user_uuid"'}


@pytest.mark.parametrize("error", [OperationalError("connection refused"), InterfaceError("connection already closed")])
def test_an_unavailable_database_is_a_503_with_retry_after(error: Exception) -> None:
    response, body = answer_to(error)

    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert body == {"detail": "The database cannot be reached. Try again in 5 seconds.", "code": "service_unavailable"}


def test_a_value_that_the_database_refuses_is_a_400_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = DataError("out of range: 99999999999")
    error.__cause__ = psycopg.errors.NumericValueOutOfRange()

    response, body = answer_to(error)

    assert response.status_code == 400
    assert body == {"detail": "A value cannot be stored. Check numbers and dates.", "code": "bad_request"}
    assert "99999999999" not in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("bug"), IntegrityError("bug"), KeyError("bug")])
def test_a_bug_is_left_to_django(error: Exception) -> None:
    with pytest.raises(type(error)):
        answer_to(error)
