"""Restricts views that only read to the methods for that. Views of the API do the same by themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from commands_platform.lib.http.handlers import json_error

READS = ("GET", "HEAD", "OPTIONS")


def read_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Returns the view for GET and HEAD. It lists these methods for OPTIONS, and answers 405 to all others."""

    @wraps(view)
    def restricted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in ("GET", "HEAD"):
            return view(request, *args, **kwargs)
        allowed = ", ".join(READS)
        response = HttpResponse(status=204)
        if request.method != "OPTIONS":
            detail = f'Method "{request.method}" not allowed. Allowed here: {allowed}.'
            response = json_error(405, detail, "method_not_allowed")
        response.headers["Allow"] = allowed
        return response

    return restricted
