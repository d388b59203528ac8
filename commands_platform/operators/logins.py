"""Logs operators in to the admin. Attempts are limited and logged, and a session ends after a fixed time."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite

from commands_platform.lib.http.client_address import client_address
from commands_platform.operators import login_throttle

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as _AuthenticationForm
else:
    _AuthenticationForm = AuthenticationForm

logger = structlog.get_logger(__name__)


class LoginForm(_AuthenticationForm):
    """Checks a username and password, unless there were too many attempts."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        account = self.cleaned_data.get("username")
        if not account or not self.cleaned_data.get("password"):
            return super().clean()
        address = client_address(self.request.META)
        wait = login_throttle.count_attempt(account=account, address=address)
        if wait is not None:
            logger.warning("login_throttled", account=_known(account), address=address)
            self.request.login_wait = wait  # type: ignore[attr-defined]
            raise ValidationError(_too_many(wait), code="throttled")
        try:
            cleaned = super().clean()
        except ValidationError:
            logger.warning("login_failed", account=_known(account), address=address)
            raise
        login_throttle.forget_account(account)
        return cleaned


def login(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
    """Serves unfold's login page. Its status is 429 if there were too many attempts."""
    response: HttpResponseBase = UnfoldAdminSite.login(admin.site, request, extra_context)
    wait: timedelta | None = getattr(request, "login_wait", None)
    if wait is not None:
        response.status_code = 429
        response.headers["Retry-After"] = str(math.ceil(wait.total_seconds()))
    return response


def limit_session(request: HttpRequest, user: User, **_signal: object) -> None:
    """Gives the new session a fixed end, after SESSION_COOKIE_AGE. Otherwise every change to it would extend it."""
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
    logger.info("logged_in", account=user.get_username(), address=client_address(request.META))


def _known(account: str) -> str | None:
    """Returns the name if there is such an account, or else None: the text may be a password in the wrong field."""
    return account if User.objects.filter(username=account).exists() else None


def _too_many(wait: timedelta) -> str:
    minutes = math.ceil(wait / timedelta(minutes=1))
    at = (timezone.now() + wait + timedelta(minutes=1)).strftime("%H:%M")
    plural = "" if minutes == 1 else "s"
    return f"Too many attempts to log in. Try again in {minutes} minute{plural}, at {at} UTC."
