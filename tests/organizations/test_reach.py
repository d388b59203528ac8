"""Python and SQL agree on where a command may act."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from commands_platform.lib import clock
from organizations.models import Command, Organization
from organizations.reach import find_installation, may_act, may_act_sql
from tests.factories import make_command, make_installation, make_organization

pytestmark = pytest.mark.django_db


def _by_sql(command: Command, organization: Organization) -> bool:
    condition = may_act_sql(organization_id="o.id")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {condition} FROM organizations_command c, organizations_organization o"  # noqa: S608
            " WHERE c.id = %s AND o.id = %s",
            [command.pk, organization.pk],
        )
        (answer,) = cursor.fetchone()
        return bool(answer)


@pytest.mark.parametrize("mode", ["installed", "everywhere"])
@pytest.mark.parametrize("is_public", [True, False])
@pytest.mark.parametrize("where", ["own", "installed", "removed", "never installed", "installed elsewhere"])
def test_python_and_sql_agree_where_a_command_may_act(settings: Any, mode: str, is_public: bool, where: str) -> None:
    settings.PUBLIC_COMMANDS = mode
    command = make_command(is_public=is_public)
    organization = command.organization if where == "own" else make_organization()
    if where == "installed":
        make_installation(command, organization)
    elif where == "removed":
        make_installation(command, organization, removed_at=clock.now())
    elif where == "installed elsewhere":
        make_installation(command, make_organization())
    expected = where == "own" or (is_public and (mode == "everywhere" or where == "installed"))

    installation = find_installation(command, organization=organization)

    assert may_act(command, organization=organization, installation=installation) is expected
    assert _by_sql(command, organization) is expected
