from __future__ import annotations

from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from commands_platform.lib.errors import NotFoundError
from commands_platform.lib.http.routes import both, documented_endpoints, parse_uuid, uuid_or_not_found
from tests.lib.hostile import HOSTILE_PATH_SEGMENTS
from tests.lib.kernel_urls import Echo

pytestmark = pytest.mark.urls("tests.lib.kernel_urls")


@pytest.mark.parametrize("method", ["post", "put", "patch"])
@pytest.mark.parametrize("path", ["/v1/echo/", "/v1/echo"])
def test_a_path_works_with_and_without_its_last_slash(path: str, method: str) -> None:
    response = getattr(Client(), method)(path, b'{"a": 1}', content_type="application/json")

    assert response.status_code == 200
    assert response.json() == {"a": 1}


def test_reversing_a_name_gives_the_documented_path() -> None:
    assert reverse("echo") == "/v1/echo/"


def test_a_documented_path_must_end_in_a_slash() -> None:
    with pytest.raises(ValueError, match="slash"):
        both("v1/echo", Echo.as_view(), "echo")


def test_the_schema_shows_each_endpoint_once() -> None:
    view = Echo.as_view()
    endpoints = [
        ("/v1/echo/", "^v1/echo/$", "GET", view),
        ("/v1/echo", "^v1/echo$", "GET", view),
        ("/v1/other", "^v1/other$", "GET", view),
    ]

    assert [endpoint[0] for endpoint in documented_endpoints(endpoints)] == ["/v1/echo/", "/v1/other"]


@pytest.mark.parametrize(
    "text",
    [
        "0190c0de-0000-4000-8000-00000000000a",
        "0190C0DE-0000-4000-8000-00000000000A",
        "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    ],
)
def test_a_uuid_is_read_in_either_case(text: str) -> None:
    assert uuid_or_not_found(text) == parse_uuid(text) == UUID(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "0190c0de000040008000000000000000a",
        "0190c0de00004000800000000000000a",
        "{0190c0de-0000-4000-8000-00000000000a}",
        "urn:uuid:0190c0de-0000-4000-8000-00000000000a",
        " 0190c0de-0000-4000-8000-00000000000a",
        "0190c0de-0000-4000-8000-00000000000a\n",
        "0190c0de-0000-4000-8000-00000000000",
        "0190c0de-0000-4000-8000-00000000000aa",
        "0190c0de-00004-000-8000-00000000000a",
        "０190c0de-0000-4000-8000-00000000000a",
        "0190c0de-0000-4000-8000-00000000000\u017f",
        "\0" * 36,
    ],
)
def test_other_spellings_of_a_uuid_are_not_found(text: str) -> None:
    with pytest.raises(NotFoundError):
        uuid_or_not_found(text)


@pytest.mark.parametrize("slash", ["/", ""])
@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_a_hostile_segment_is_not_found_or_refused(segment: str, slash: str) -> None:
    response = Client().get(f"/v1/things/{segment}{slash}")

    assert response.status_code in (400, 404)
    assert response.json()["code"] in ("bad_request", "not_found")
