from __future__ import annotations

from commands_platform.lib.http.routes import both
from directory.views.api_keys import ApiKeyDetail, ApiKeyList, ApiKeyRevocation, ApiKeyRotation
from directory.views.changes import ChangeList
from directory.views.commands import (
    CommandDetail,
    CommandList,
    CommandTokenRevocation,
    SecretRotation,
    SignatureRotation,
)
from directory.views.organization import Me, OrganizationDetail, UserDetail, UserList

urlpatterns = [
    *both("me/", Me.as_view(), "me"),
    *both("organization/", OrganizationDetail.as_view(), "organization"),
    *both("users/", UserList.as_view(), "user-list"),
    *both("users/<str:uuid>/", UserDetail.as_view(), "user-detail"),
    *both("platform/commands/", CommandList.as_view(), "command-list"),
    *both("platform/commands/<str:uuid>/", CommandDetail.as_view(), "command-detail"),
    *both("platform/commands/<str:uuid>/rotate-secret/", SecretRotation.as_view(), "command-secret"),
    *both("platform/commands/<str:uuid>/rotate-signature/", SignatureRotation.as_view(), "command-signature"),
    *both("platform/commands/<str:uuid>/revoke-tokens/", CommandTokenRevocation.as_view(), "command-tokens"),
    *both("platform/api-keys/", ApiKeyList.as_view(), "api-key-list"),
    *both("platform/api-keys/<str:uuid>/", ApiKeyDetail.as_view(), "api-key-detail"),
    *both("platform/api-keys/<str:uuid>/rotate/", ApiKeyRotation.as_view(), "api-key-rotation"),
    *both("platform/api-keys/<str:uuid>/revoke/", ApiKeyRevocation.as_view(), "api-key-revocation"),
    *both("platform/audit/", ChangeList.as_view(), "audit"),
]
