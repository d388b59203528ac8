"""The WSGI application, which the gateway runs for each request."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "commands_platform.settings")

_django = get_wsgi_application()

from commands_platform.lib.http.middleware import refuse_unreadable_requests  # noqa: E402 (it needs Django set up)

application = refuse_unreadable_requests(_django)

# Everything loaded so far stays in use. Searching it for garbage would block all requests for a tenth of a second.
gc.collect()
gc.freeze()
