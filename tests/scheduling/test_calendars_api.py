"""`calendars/`: sets of dates with names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from scheduling import calendar_services
from scheduling.calendars import MAX_DATES, Calendar
from tests.api import ApiClient, make_caller
from tests.factories import make_installation, make_token, make_user
from tests.scheduling.schedules import LIST, create

pytestmark = pytest.mark.django_db

CALENDARS = f"{LIST}calendars/"
DATES = ["2026-12-25", "2026-12-31/2027-01-01"]
ICS = b"BEGIN:VCALENDAR\r\nX-WR-CALNAME:feast\r\nBEGIN:VEVENT\r\nDTSTART:20261225\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def send_file(client: ApiClient, method: str, path: str, body: bytes = ICS, media: str = "text/calendar") -> Any:
    return client.request(method, path, raw=body, media=media)


def test_a_calendar_is_created_shown_listed_replaced_and_deleted(alice: ApiClient, time: list[datetime]) -> None:
    created = alice.post(CALENDARS, {"name": "holidays", "dates": DATES})
    assert created.status_code == 201
    body = created.json()
    assert body == {
        "name": "holidays", "dates": DATES, "created_at": "2026-02-25T12:00:00Z", "updated_at": "2026-02-25T12:00:00Z",
    }  # fmt: skip
    assert alice.get(f"{CALENDARS}holidays/").json() == body
    assert alice.get(CALENDARS).json() == {"count": 1, "next": None, "previous": None, "results": [body]}

    replaced = alice.put(f"{CALENDARS}holidays/", {"dates": ["2026-12-26"]})
    assert (replaced.status_code, replaced.json()["dates"]) == (200, ["2026-12-26"])
    assert alice.delete(f"{CALENDARS}holidays/").status_code == 204
    assert alice.get(f"{CALENDARS}holidays/").status_code == 404


def test_put_creates_a_calendar(alice: ApiClient) -> None:
    assert alice.put(f"{CALENDARS}next/", {"dates": DATES}).status_code == 201
    assert alice.get(f"{CALENDARS}next/").json()["dates"] == DATES


def test_a_file_is_read(alice: ApiClient) -> None:
    assert send_file(alice, "POST", CALENDARS).json()["name"] == "feast"
    assert send_file(alice, "POST", f"{CALENDARS}?name=other", media="text/calendar; charset=utf-8").status_code == 201
    assert send_file(alice, "PUT", f"{CALENDARS}other/").json()["dates"] == ["2026-12-25"]


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"hello", "text/calendar", 400),
        (b"\xff", "text/calendar", 400),
        (ICS, "text/plain", 415),
        (ICS, "text/calendar; charset=latin-1", 415),
        (ICS.replace(b"X-WR-CALNAME:feast\r\n", b""), "text/calendar", 400),
        (ICS.replace(b"feast", b"Feiertage 2026"), "text/calendar", 400),
        (b"", "text/calendar", 400),
    ],
)
def test_a_bad_file_is_a_clear_error(alice: ApiClient, body: bytes, media: str, status: int) -> None:
    response = send_file(alice, "POST", CALENDARS, body, media)
    assert response.status_code == status
    assert response.json()["detail"]


def test_a_file_that_is_too_large_is_refused(alice: ApiClient, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 50
    assert send_file(alice, "POST", CALENDARS).status_code == 413


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "holidays"}, "dates"),
        ({"dates": DATES}, "name"),
        ({"name": "2026-12-25", "dates": DATES}, "name"),
        ({"name": "a b", "dates": DATES}, "name"),
        ({"name": "x" * 65, "dates": DATES}, "name"),
        ({"name": "x", "dates": ["soon"]}, "dates"),
        ({"name": "x", "dates": ["2026-02-30"]}, "dates"),
        ({"name": "x", "dates": "2026-12-25"}, "dates"),
        ({"name": "x", "dates": ["2026-12-25"] * (MAX_DATES + 1)}, "dates"),
    ],
)
def test_an_invalid_calendar_is_refused(alice: ApiClient, body: dict[str, Any], field: str) -> None:
    response = alice.post(CALENDARS, body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


def test_a_name_is_used_once(alice: ApiClient) -> None:
    alice.post(CALENDARS, {"name": "holidays", "dates": []})
    response = alice.post(CALENDARS, {"name": "holidays", "dates": []})
    assert (response.status_code, response.json()["code"]) == (409, "calendar_exists")


def test_the_number_of_calendars_is_limited(alice: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar_services, "MAX_CALENDARS", 1)
    alice.post(CALENDARS, {"name": "a", "dates": []})
    assert alice.post(CALENDARS, {"name": "b", "dates": []}).status_code == 400


def test_a_calendar_that_a_schedule_names_cannot_be_deleted(alice: ApiClient) -> None:
    alice.post(CALENDARS, {"name": "holidays", "dates": []})
    alice.post(CALENDARS, {"name": "holidays-de", "dates": []})
    create(alice, cron="0 9 * * *", **{"except": ["holidays-de"]})
    response = alice.delete(f"{CALENDARS}holidays-de/")
    assert (response.status_code, response.json()["code"]) == (409, "calendar_in_use")
    assert response.json()["detail"].startswith("1 schedule names the calendar")
    assert alice.delete(f"{CALENDARS}holidays/").status_code == 204


def test_a_stranger_sees_no_calendar(alice: ApiClient, mallory: ApiClient) -> None:
    alice.post(CALENDARS, {"name": "holidays", "dates": DATES})
    assert mallory.get(f"{CALENDARS}holidays/").status_code == 404
    assert mallory.delete(f"{CALENDARS}holidays/").status_code == 404
    assert mallory.get(CALENDARS).json()["count"] == 0
    response = mallory.post(LIST, {"name": "x", "cron": "0 9 * * *", "except": ["holidays"]})
    assert response.status_code == 400
    assert mallory.put(f"{CALENDARS}holidays/", {"dates": []}).status_code == 201
    assert Calendar.objects.get(organization=alice.caller.organization).dates != "[]"


def test_calendars_need_a_key_with_its_scope(alice: ApiClient) -> None:
    assert alice.get(CALENDARS, key=None).status_code == 401
    assert alice.get(f"{CALENDARS}holidays/", key=None).status_code == 401
    unscoped = ApiClient(alice.caller.with_scopes("STORAGE"))
    assert unscoped.post(CALENDARS, {"name": "x", "dates": []}).status_code == 403


def test_a_void_token_changes_nothing(alice: ApiClient) -> None:
    response = alice.post(CALENDARS, {"name": "x", "dates": []}, token="void")
    assert (response.status_code, response.json()["code"]) == (400, "missing_token")


def test_a_foreign_command_reads_the_calendars_of_its_users_organization(alice: ApiClient) -> None:
    guest = make_caller(is_public=True)
    make_installation(guest.command, alice.caller.organization)
    token = make_token(guest.command, make_user(alice.caller.organization))
    client = ApiClient(guest)
    alice.post(CALENDARS, {"name": "holidays", "dates": DATES})
    assert client.get(f"{CALENDARS}holidays/", token=token).json()["dates"] == DATES
    for response in (
        client.put(f"{CALENDARS}holidays/", {"dates": []}, token=token),
        client.delete(f"{CALENDARS}holidays/", token=token),
        client.post(CALENDARS, {"name": "x", "dates": []}, token=token),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
