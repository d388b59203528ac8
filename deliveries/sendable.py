"""Decides in SQL whether a callback may be sent now, and the reason if not.

The dispatcher, the sender's claim, a manual run and the matching of hooks all use it, so they always agree. A statement
joins the parties of a row by `joins_sql`, and selects the reason by `reason_sql`.
"""

from __future__ import annotations

from functools import lru_cache

from auth_tokens.scopes import Scope
from deliveries.models import Kind, Reason
from organizations.reach import lacks_scope_sql, may_act_sql
from outbound.address_guard import origin_of


def joins_sql(*, organization_id: str, command_id: str, user_id: str) -> str:
    """Returns the joins to a row's organization `o`, command `c` with its organization `co`, and user `u` with `uo`.

    They are outer joins: a row whose parties are gone must get a reason, not vanish.
    """
    return f"""
LEFT JOIN organizations_organization o ON o.id = {organization_id}
LEFT JOIN organizations_command c ON c.id = {command_id}
LEFT JOIN organizations_organization co ON co.id = c.organization_id
LEFT JOIN organizations_user u ON u.id = {user_id}
LEFT JOIN organizations_organization uo ON uo.id = u.organization_id
"""


def scope_sql(*, kind: str) -> str:
    """Returns an expression for the scope that another organization's command needs for a delivery of this kind."""
    return f"CASE {kind} WHEN '{Kind.EVENT}' THEN '{Scope.EVENT_SUBSCRIPTION}' ELSE '{Scope.SCHEDULING}' END"


def reason_sql(*, user_id: str, url: str, scope: str) -> str:
    """Returns an expression for the Reason why nothing can be sent now; an empty string if it can be.

    `scope` is an expression for the scope that another organization's command needs.
    """
    return f"""
CASE WHEN o.is_active IS NOT TRUE THEN '{Reason.ORGANIZATION_INACTIVE}'
    WHEN (c.is_active AND co.is_active AND (c.organization_id = o.id OR c.is_public)) IS NOT TRUE
        THEN '{Reason.COMMAND_INACTIVE}'
    WHEN NOT {may_act_sql(organization_id="o.id")} THEN '{Reason.COMMAND_NOT_INSTALLED}'
    WHEN {lacks_scope_sql(organization_id="o.id", scope=scope)} THEN '{Reason.COMMAND_NOT_ALLOWED}'
    WHEN {user_id} IS NOT NULL AND (u.is_active AND uo.is_active) IS NOT TRUE THEN '{Reason.USER_INACTIVE}'
    WHEN {url} = '' THEN '{Reason.NO_CALLBACK_URL}'
    ELSE '' END
"""


def origin_or_reason(url: str, reason: str) -> tuple[str, Reason | None]:
    """Returns the URL's origin and None, or an empty string and the Reason why nothing can be sent to it.

    `reason` is the result of `reason_sql`. SQL does not parse URLs, so this function checks that the URL is valid.
    """
    if reason:
        return "", Reason(reason)
    try:
        return _origin_of(url), None
    except ValueError:
        return "", Reason.INVALID_CALLBACK_URL


# Cached, because a herd has few URLs.
_origin_of = lru_cache(maxsize=4096)(origin_of)
