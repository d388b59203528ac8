"""Columns that the pages of several models share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from commands_platform.operators import html


class OwnerColumns:
    """Links to the organization, command and user of a row. They are plain text if the operator may not open them."""

    @admin.display(description="Command")
    def command_link(self, row: Any) -> SafeString:
        if row.command is None:
            return html.DASH
        return html.link_to("organizations_command_change", row.command_id, text=row.command)

    @admin.display(description="Organization")
    def organization_link(self, row: Any) -> SafeString:
        return html.link_to("organizations_organization_change", row.organization_id, text=row.organization)

    @admin.display(description="User")
    def user_link(self, row: Any) -> SafeString:
        if row.user is None:
            return html.DASH
        return html.link_to("organizations_user_change", row.user_id, text=row.user)

    @admin.display(description="Owner")
    def owner_link(self, row: Any) -> SafeString:
        if row.owner is None:
            return html.DASH
        return html.link_to("organizations_user_change", row.owner_id, text=row.owner)


class DateColumns:
    """Shows when a row was created and updated."""

    @admin.display(description="Created")
    def created_in_full(self, row: Any) -> SafeString:
        return html.instant_in_full(row.created_at)

    @admin.display(description="Updated")
    def updated_in_full(self, row: Any) -> SafeString:
        return html.instant_in_full(row.updated_at)
