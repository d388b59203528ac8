"""The Content-Security-Policy of pages."""

from __future__ import annotations

from csp.constants import NONCE, NONE, SELF, UNSAFE_INLINE

# lib.http.security_policy allows the admin's scripts a little more, and other answers nothing.
PAGE_DIRECTIVES = {
    "default-src": [NONE],
    "script-src": [SELF, NONCE],
    # unfold writes the theme's colours into each page, and its scripts move and size elements.
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
}
