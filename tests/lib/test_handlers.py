from __future__ import annotations

import pytest
import structlog
from django.test import Client

from commands_platform.lib.http.handlers import INVALID_REQUEST, is_api_path

pytestmark = [
    pytest.mark.urls("tests.lib.kernel_urls"),
    pytest.mark.filterwarnings("ignore::UserWarning:structlog"),
]


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        ("/v1/", True),
        ("/v1/platform/storage/", True),
        ("/v1", True),
        ("/v10/", False),
        ("/", False),
        ("/admin/v1/", False),
    ],
)
def test_paths_under_v1_belong_to_the_api(path: str, belongs: bool) -> None:
    assert is_api_path(path) is belongs


@pytest.mark.parametrize("path", ["/v1/nothing/", "/v1/nothing", "/v1/", "/v1", "/v1//echo/", "/v1/echo//"])
def test_an_unknown_path_is_answered_like_an_unknown_object(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 404
    assert response.json() == {"detail": "Not found.", "code": "not_found"}


@pytest.mark.parametrize("path", ["/v1/bug/", "/v1/plain-bug/"])
def test_the_answer_to_a_bug_has_the_request_id_and_no_internals(client: Client, path: str) -> None:
    response = client.get(path, headers={"x-request-id": "id-of-this-request"})

    assert response.status_code == 500
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert body == {"detail": "Internal server error.", "code": "internal_error", "request_id": body["request_id"]}
    assert isinstance(body["request_id"], str)


def test_the_request_id_in_a_500_is_the_one_in_the_log(client: Client) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as log:
        body = client.get("/v1/bug/").json()

    assert body["request_id"] in {entry.get("request_id") for entry in log}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/suspicious/", 400, "bad_request"),
        ("/v1/forbidden/", 403, "permission_denied"),
        ("/v1/only-get/", 405, "method_not_allowed"),
        ("/v1/teapot/", 418, "bad_request"),
    ],
)
def test_errors_of_other_code_have_the_documented_shape(client: Client, path: str, status: int, code: str) -> None:
    response = client.get(path)

    assert response.status_code == status
    assert response.json()["code"] == code
    assert "secret" not in response.text
    assert int(response["Content-Length"]) == len(response.content)


def test_a_refused_method_still_lists_the_allowed_ones(client: Client) -> None:
    assert client.post("/v1/only-get/")["Allow"] == "GET"


def test_an_unknown_host_is_refused_in_json(client: Client) -> None:
    response = client.get("/v1/echo/", headers={"host": "evil.example"})

    assert response.status_code == 400
    assert response.json() == {"detail": INVALID_REQUEST, "code": "bad_request"}


def test_too_many_parameters_are_refused_in_json(client: Client) -> None:
    response = client.get("/v1/echo/?" + "&".join(["a=1"] * 2000))

    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/elsewhere/nothing/", 404),
        ("/elsewhere/suspicious/", 400),
        ("/elsewhere/forbidden/", 403),
        ("/elsewhere/plain-bug/", 500),
        ("/elsewhere/teapot/", 418),
    ],
)
def test_outside_the_api_browsers_get_pages(client: Client, path: str, status: int) -> None:
    response = client.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert response.status_code == status
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/elsewhere/nothing/", 404, "not_found"),
        ("/elsewhere/suspicious/", 400, "bad_request"),
        ("/elsewhere/forbidden/", 403, "permission_denied"),
        ("/elsewhere/plain-bug/", 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_clients_that_do_not_ask_for_html_get_json_everywhere(
    client: Client, accept: str | None, path: str, status: int, code: str
) -> None:
    response = client.get(path, headers={"accept": accept} if accept else {})

    assert response.status_code == status
    assert response.json()["code"] == code
