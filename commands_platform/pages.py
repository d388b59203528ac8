"""Serves the start page. Error pages are templates such as 404.html, which Django's own views render."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from commands_platform import __version__


def home(request: HttpRequest) -> HttpResponse:
    """Shows what this server is and where its documentation is: as a page for browsers, as JSON for programs."""
    if request.accepts("text/html") and "text/html" in request.headers.get("Accept", ""):
        context = {"base_url": request.build_absolute_uri("/").rstrip("/"), "version": __version__}
        return render(request, "pages/home.html", context)
    addresses = {name: request.build_absolute_uri(reverse(name)) for name in ("docs", "schema")}
    return JsonResponse({"name": "Commands Platform", "version": __version__, **addresses})
