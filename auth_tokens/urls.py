from __future__ import annotations

from auth_tokens.views import FetchExchangeToken
from commands_platform.lib.http.routes import both

urlpatterns = [
    *both("auth/fetch-command-exchange-token/", FetchExchangeToken.as_view(), "fetch-exchange-token"),
]
