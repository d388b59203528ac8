from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig, apps


class AuthTokensConfig(AppConfig):
    name = "auth_tokens"
    verbose_name = "API keys and tokens"

    def ready(self) -> None:
        if apps.is_installed("drf_spectacular"):
            # Importing it registers the schema's description of the headers.
            import_module("auth_tokens.openapi")
