"""The pages of changes."""

from __future__ import annotations

import pytest

from audit.models import Change
from organizations import services
from tests.admin import html_of, make_operator, page, page_of
from tests.audit.changes import last_change_of
from tests.factories import make_api_key, make_command, make_schedule, make_user

pytestmark = pytest.mark.django_db


def test_the_pages_of_a_schedule_a_command_and_a_key_link_to_their_changes() -> None:
    operator = make_operator(is_superuser=True)

    for row in (make_schedule(), make_command(), make_api_key()[0]):
        assert f"{page(Change, 'changelist')}?q={row.uuid}" in html_of(operator, page_of(row))


def test_the_list_finds_the_changes_of_one_object() -> None:
    operator = make_operator(is_superuser=True)
    user, other = make_user(), make_user()
    for row, name in ((user, "Grace Hopper"), (other, "Mary Somerville")):
        services.change_in_directory(row=row, changes={"full_name": name})

    found = html_of(operator, f"{page(Change, 'changelist')}?q={user.uuid}")

    assert "Grace Hopper" in found
    assert "Mary Somerville" not in found


def test_a_change_can_be_read_but_neither_changed_nor_deleted() -> None:
    operator = make_operator(is_superuser=True)
    user = make_user()
    services.change_in_directory(row=user, changes={"full_name": "Grace Hopper"})
    change = last_change_of(user)

    assert "Ada Lovelace" in html_of(operator, page_of(change))
    assert operator.post(page_of(change), {"actor_name": "nobody"}).status_code == 403
    assert operator.post(page_of(change, "delete"), {"post": "yes"}).status_code == 403
    assert operator.get(page(Change, "add")).status_code == 403
