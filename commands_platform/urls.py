"""The URLs of the server."""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from commands_platform import health, pages
from commands_platform.lib.http.methods import read_only
from commands_platform.lib.http.routes import both
from commands_platform.lib.http.schema_view import SchemaView

# Django takes the first match, so the paths with the most requests come first.
urlpatterns = [
    path("v1/platform/", include("storage.urls")),
    path("v1/platform/", include("activity.urls")),
    path("v1/platform/", include("scheduling.urls")),
    path("v1/platform/", include("events.urls")),
    path("v1/platform/", include("installations.urls")),
    path("v1/", include("auth_tokens.urls")),
    path("v1/", include("directory.urls")),
    path("v1/", include("events.webhook_urls")),
    path("healthz", read_only(health.healthz)),
    path("readyz", read_only(health.readyz)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", read_only(pages.home), name="home"),
    path("favicon.ico", RedirectView.as_view(url=static("operators/favicon.svg"))),
    *both("v1/schema/", read_only(SchemaView.as_view()), "schema"),
    *both("v1/docs/", read_only(SpectacularSwaggerSplitView.as_view(url_name="schema")), "docs"),
]

handler400 = "commands_platform.lib.http.handlers.bad_request"
handler403 = "commands_platform.lib.http.handlers.permission_denied"
handler404 = "commands_platform.lib.http.handlers.not_found"
handler500 = "commands_platform.lib.http.handlers.server_error"
