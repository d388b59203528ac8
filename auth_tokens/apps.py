from __future__ import annotations

from django.apps import AppConfig


class AuthTokensConfig(AppConfig):
    name = "auth_tokens"
    verbose_name = "API keys and tokens"
