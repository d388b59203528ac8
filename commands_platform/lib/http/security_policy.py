"""Restricts what browsers do with an answer, by Content-Security-Policy and Permissions-Policy.

A page may load files of this server only. Any other answer may load nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csp.constants import HEADER, UNSAFE_EVAL
from csp.middleware import CSPMiddleware, PolicyParts

from commands_platform.lib.http.handlers import is_api_path

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

LOADS_NOTHING = "default-src 'none'; frame-ancestors 'none'"
# The admin copies a new secret to the clipboard.
_USED_FEATURES = {"clipboard-write": "(self)"}
_FEATURES = (
    *("accelerometer", "autoplay", "camera", "clipboard-read", "display-capture", "encrypted-media", "fullscreen"),
    *("geolocation", "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
_PERMISSIONS = ", ".join(
    [f"{feature}=()" for feature in _FEATURES] + [f"{feature}={who}" for feature, who in _USED_FEATURES.items()]
)
_ADMIN = "/admin/"


class SecurityPolicyMiddleware(CSPMiddleware):
    """Gives pages the policy of the settings, and other answers a policy that allows nothing."""

    def process_request(self, request: HttpRequest) -> None:
        # The API has no templates, so it needs no nonce.
        if not is_api_path(request.path_info):
            super().process_request(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault(HEADER, LOADS_NOTHING)
            return response
        response.headers.setdefault("Permissions-Policy", _PERMISSIONS)
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(_ADMIN):
            # Alpine.js, which unfold uses, compiles the expressions in its attributes.
            parts.update = {"script-src": [UNSAFE_EVAL]}
        return parts
