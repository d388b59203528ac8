from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class AuthTokensConfig(AppConfig):
    name = "auth_tokens"
    verbose_name = "API keys and tokens"

    def ready(self) -> None:
        # The schema's description of the headers registers itself.
        import_module("auth_tokens.openapi")
