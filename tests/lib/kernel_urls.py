"""Views that show what the kernel does: they return the body, or fail in various ways."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse, StreamingHttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from commands_platform.lib.http.inputs import read_query
from commands_platform.lib.http.pagination import PageQuery
from commands_platform.lib.http.renderers import RawJson
from commands_platform.lib.http.routes import both, uuid_or_not_found
from commands_platform.lib.json.strict_json import dumps

urgent_came = Event()


class OpenView(APIView):
    authentication_classes = ()
    permission_classes = ()


class Echo(OpenView):
    """Returns what it was sent."""

    def get(self, request: Request) -> Response:
        return Response({"query": request.GET.dict(), "bounds": read_query(PageQuery, request, ignore_unknown=True)})

    def post(self, request: Request) -> Response:
        return Response(RawJson(dumps(request.data)))

    put = patch = post

    def delete(self, request: Request) -> Response:
        return Response(request.data)


class Thing(OpenView):
    def get(self, request: Request, uuid: str) -> Response:
        return Response({"uuid": uuid_or_not_found(uuid)})


def raising(error: Callable[[], Exception]) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        raise error()

    return view


class Bug(OpenView):
    def get(self, request: Request) -> Response:
        raise RuntimeError("the password is hunter2")


def reads_the_body(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


def headers(request: HttpRequest) -> HttpResponse:
    return JsonResponse({name: value for name, value in request.META.items() if isinstance(value, str)})


def long_stream(request: HttpRequest) -> StreamingHttpResponse:
    """Streams its response in pieces, without a length."""
    return StreamingHttpResponse(b"x" * 65_536 for _ in range(200))


def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"x" * 30_000_000)


def slow(request: HttpRequest) -> HttpResponse:
    """Occupies its thread until a request for `/v1/urgent/` arrives."""
    return HttpResponse(b"late" if urgent_came.wait(5) else b"too late")


def urgent(request: HttpRequest) -> HttpResponse:
    urgent_came.set()
    return HttpResponse(b"urgent")


def only_get(request: HttpRequest) -> HttpResponse:
    return HttpResponseNotAllowed(["GET"])


def teapot(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>418</p>", status=418)


_plain: dict[str, Callable[..., Any]] = {
    "suspicious": raising(lambda: SuspiciousOperation("a secret reason")),
    "forbidden": raising(lambda: PermissionDenied("a secret reason")),
    "plain-bug": raising(lambda: RuntimeError("a secret reason")),
    "reads-the-body": reads_the_body,
    "only-get": only_get,
    "headers": headers,
    "long-stream": long_stream,
    "large": large,
    "slow": slow,
    "urgent": urgent,
    "teapot": teapot,
}

urlpatterns = [
    *both("v1/echo/", Echo.as_view(), "echo"),
    *both("v1/things/<str:uuid>/", Thing.as_view(), "thing"),
    *both("v1/bug/", Bug.as_view(), "bug"),
    *(path(f"{prefix}{name}/", view) for prefix in ("v1/", "elsewhere/") for name, view in _plain.items()),
]

handler400 = "commands_platform.lib.http.handlers.bad_request"
handler403 = "commands_platform.lib.http.handlers.permission_denied"
handler404 = "commands_platform.lib.http.handlers.not_found"
handler500 = "commands_platform.lib.http.handlers.server_error"
