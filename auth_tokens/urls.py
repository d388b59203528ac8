from __future__ import annotations

from auth_tokens.views import FetchExchangeToken, Me, OrganizationDetail, UserDetail, UserList
from commands_platform.lib.http.routes import both

urlpatterns = [
    *both("auth/fetch-command-exchange-token/", FetchExchangeToken.as_view(), "fetch-exchange-token"),
    *both("me/", Me.as_view(), "me"),
    *both("organization/", OrganizationDetail.as_view(), "organization"),
    *both("users/", UserList.as_view(), "user-list"),
    *both("users/<str:uuid>/", UserDetail.as_view(), "user-detail"),
]
