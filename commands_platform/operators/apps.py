from __future__ import annotations

from django.apps import AppConfig, apps
from django.contrib.auth.signals import user_logged_in


class OperatorsConfig(AppConfig):
    name = "commands_platform.operators"
    verbose_name = "Operators"

    def ready(self) -> None:
        from commands_platform.operators.logins import limit_session

        user_logged_in.connect(limit_session)
        # Django's users are operators, who log in to the admin. The platform's own users are another model and cannot
        # log in. The admin calls Django's users logins, so that nobody confuses the two.
        app = apps.get_app_config("auth")
        app.verbose_name = self.verbose_name
        login = app.get_model("User")._meta
        login.verbose_name, login.verbose_name_plural = "login", "logins"
