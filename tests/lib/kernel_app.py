"""The HTTP kernel behind its gateway, without the apps, for a web server in another process."""

from __future__ import annotations

from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF="tests.lib.kernel_urls",
    APPEND_SLASH=False,
    USE_I18N=False,
    MAX_BODY_BYTES=1024 * 1024,
    MAX_JSON_DEPTH=64,
    TRUSTED_PROXIES=(),
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=[
        "commands_platform.lib.http.middleware.RequestHygieneMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_PARSER_CLASSES": ["commands_platform.lib.http.parsers.StrictJSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["commands_platform.lib.http.renderers.JSONRenderer"],
        "DEFAULT_CONTENT_NEGOTIATION_CLASS": "commands_platform.lib.http.negotiation.JSONOnlyNegotiation",
        "EXCEPTION_HANDLER": "commands_platform.lib.http.exception_handler.exception_handler",
        "UNAUTHENTICATED_USER": None,
    },
)
_django = get_wsgi_application()

# These imports load REST framework, which needs Django to be set up.
from commands_platform.lib.http.gateway.application import Callers, Gateway, GatewayLimits  # noqa: E402
from commands_platform.lib.http.gateway.bodies import BodyLimits  # noqa: E402
from commands_platform.lib.http.middleware import refuse_unreadable_requests  # noqa: E402

application = Gateway(
    refuse_unreadable_requests(_django),
    callers=Callers(
        may_be_key=lambda key: not key.startswith("no key"),
        is_key=lambda key: key != "unknown",
        address_of=lambda environ: str(environ.get("HTTP_X_ADDRESS", "")),
    ),
    limits=GatewayLimits(
        body=BodyLimits(max_bytes=settings.MAX_BODY_BYTES, deadline=8.0, grace=1.5, min_rate=100_000),
        requests_per_address=20,
        send_seconds=0.5,
        pending_bytes=20_000_000,
    ),
    threads=2,
    urgent_paths=["/v1/urgent/"],
)
