"""Decides whether a command may act in an organization.

A command may act in its own organization. In another one it must be public, and also installed there, unless
PUBLIC_COMMANDS is `everywhere`.
"""

from __future__ import annotations

from django.conf import settings

from organizations.models import Command, Installation, Organization

EVERYWHERE = "everywhere"
INSTALLED = "installed"


def may_act(command: Command, *, organization: Organization, installation: Installation | None) -> bool:
    """Returns whether the command may act in the organization. Give its current installation there, if there is one."""
    if command.organization_id == organization.pk:
        return True
    return command.is_public and (settings.PUBLIC_COMMANDS == EVERYWHERE or installation is not None)


def find_installation(command: Command, *, organization: Organization) -> Installation | None:
    """Returns the current installation of the command in another organization, or None. In its own it needs none."""
    if command.organization_id == organization.pk:
        return None
    return Installation.objects.current().filter(command=command, organization=organization).first()


def lacks_scope_sql(*, organization_id: str, scope: str, command: str = "c") -> str:
    """Returns an SQL condition: the organization has installed another one's command, but without this scope.

    `scope` is an SQL expression. A command needs no scope in its own organization, nor where it needs no installation.
    """
    lacking = (
        "SELECT FROM organizations_installation"
        f" WHERE command_id = {command}.id AND organization_id = {organization_id} AND removed_at IS NULL"
        f" AND {scope} <> ALL(scopes)"
    )
    return f"({command}.organization_id <> {organization_id} AND EXISTS ({lacking}))"


def may_act_sql(*, organization_id: str, command: str = "c") -> str:
    """Returns `may_act` as an SQL condition. `command` is the alias of the table of commands."""
    public = f"{command}.is_public"
    if settings.PUBLIC_COMMANDS != EVERYWHERE:
        installed = (
            "SELECT FROM organizations_installation"
            f" WHERE command_id = {command}.id AND organization_id = {organization_id} AND removed_at IS NULL"
        )
        public = f"({public} AND EXISTS ({installed}))"
    return f"({command}.organization_id = {organization_id} OR {public})"
