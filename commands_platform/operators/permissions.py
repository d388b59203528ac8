"""Tells which pages the operator of the current request may open, for links, the sidebar and searches.

It asks the pages themselves, so no link leads to a page that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse

from audit.actors import Actor, acting_as
from audit.kinds import ActorKind
from commands_platform.lib.http.client_address import client_address

_request: ContextVar[HttpRequest | None] = ContextVar("operators_request", default=None)
_ADMIN = "/admin/"


class CurrentOperatorMiddleware:
    """Remembers the request while a page of the admin is rendered, because Django does not pass it to columns.

    Changes that the page makes are the operator's.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(_ADMIN):
            return self._get_response(request)
        with looking_as(request), acting_as(partial(_operator_of, request)):
            return self._get_response(request)


@contextmanager
def looking_as(request: HttpRequest) -> Iterator[None]:
    """Makes the request the current one."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def may_view(model: str, request: HttpRequest | None = None) -> bool:
    """Returns whether the operator may open the pages of a model, named as `app_model` or `app.model`.

    The answer is no outside a request, and for a model without pages.
    """
    request = request or _request.get()
    pages: Any = _pages().get(model.replace(".", "_").lower())
    return request is not None and pages is not None and bool(pages.has_view_permission(request))


def url_if_allowed(name: str, *arguments: object, query: str = "") -> str:
    """Returns the URL of a page by its name without `admin:`, or "" if the operator may not open it.

    The name begins with the model's: `organizations_command_change`.
    """
    if not any(name.startswith(f"{model}_") and may_view(model) for model in _pages()):
        return ""
    try:
        return reverse(f"admin:{name}", args=arguments) + query
    except NoReverseMatch:
        return ""


def _operator_of(request: HttpRequest) -> Actor:
    user: Any = request.user
    return Actor(ActorKind.OPERATOR, user.get_username(), address=client_address(request.META))


def _pages() -> dict[str, Any]:
    # Import here, because the settings of every process import this module, and few processes install the admin.
    from django.contrib import admin

    # Django has no public way to list the models of an admin site.
    return {f"{m._meta.app_label}_{m._meta.model_name}": pages for m, pages in admin.site._registry.items()}  # noqa: SLF001
