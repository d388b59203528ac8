"""The yardstick's application, which granian serves."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.support.bare_settings"

application = get_wsgi_application()
