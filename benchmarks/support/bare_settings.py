"""The platform's settings without its middleware, for a server that answers the yardstick's views only."""

from __future__ import annotations

from commands_platform import settings
from commands_platform.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.support.bare"
MIDDLEWARE = settings.MIDDLEWARE[:0]
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []}
