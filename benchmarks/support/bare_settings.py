"""The platform's settings without its middleware, for a server that has only the yardstick's views."""

from __future__ import annotations

from commands_platform import settings
from commands_platform.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.support.bare"
MIDDLEWARE = settings.MIDDLEWARE[:0]
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []}
