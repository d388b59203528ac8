"""The pages of organizations, users and commands."""

from __future__ import annotations

from organizations.admin.commands import CommandAdmin
from organizations.admin.organizations import OrganizationAdmin
from organizations.admin.users import UserAdmin

__all__ = ["CommandAdmin", "OrganizationAdmin", "UserAdmin"]
