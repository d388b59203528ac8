"""What the operator of the current request may open. It decides on links, on the sidebar and on searches.

The pages' own permissions decide, so a link never leads to a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse

_request: ContextVar[HttpRequest | None] = ContextVar("operators_request", default=None)
_ADMIN = "/admin/"


class CurrentOperatorMiddleware:
    """Remembers the request while a page of the admin is made: columns are not told who looks at them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(_ADMIN):
            return self._get_response(request)
        with looking_as(request):
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

    Nobody may outside a request, and nobody may where there are no pages.
    """
    request = request or _request.get()
    pages: Any = _pages().get(model.replace(".", "_").lower())
    return request is not None and pages is not None and bool(pages.has_view_permission(request))


def url_if_allowed(name: str, *arguments: object, query: str = "") -> str:
    """Returns the URL of a page by its name without `admin:`, or nothing if the operator may not open it.

    The name begins with the model's: `organizations_command_change`.
    """
    if not any(name.startswith(f"{model}_") and may_view(model) for model in _pages()):
        return ""
    try:
        return reverse(f"admin:{name}", args=arguments) + query
    except NoReverseMatch:
        return ""


def _pages() -> dict[str, Any]:
    # The settings of every process import this module, and few processes have an admin.
    from django.contrib import admin

    # The site has no public way to its models.
    return {f"{m._meta.app_label}_{m._meta.model_name}": pages for m, pages in admin.site._registry.items()}  # noqa: SLF001
