"""The ASGI application that granian serves: the gateway in front of Django."""

from __future__ import annotations

# Imported first, because it sets up Django, which the other modules need.
from commands_platform.wsgi import application as django

# isort: split
import atexit

from django.conf import settings
from django.db import Error, close_old_connections

from auth_tokens import callers
from auth_tokens.errors import InvalidApiKeyError
from auth_tokens.keys import has_key_shape
from commands_platform import __version__
from commands_platform.lib.http.client_address import client_address
from commands_platform.lib.http.gateway.application import Callers, Gateway, GatewayLimits
from commands_platform.lib.http.gateway.bodies import BodyLimits
from processes.heartbeats import Heartbeat
from processes.models import Role


def _is_key(key: str) -> bool:
    try:
        callers.find_caller(key=key)
    except InvalidApiKeyError:
        return False
    except Error:
        # Django will answer with the database's error. It does not need the body for that.
        return False
    finally:
        close_old_connections()
    return True


application = Gateway(
    django,
    callers=Callers(may_be_key=has_key_shape, is_key=_is_key, address_of=client_address),
    limits=GatewayLimits(
        body=BodyLimits(max_bytes=settings.MAX_BODY_BYTES, deadline=settings.MAX_BODY_SECONDS),
        requests_per_address=settings.MAX_REQUESTS_PER_ADDRESS,
    ),
    threads=settings.WEB_THREADS,
    # A check whether this process is alive must not queue behind other requests.
    urgent_paths=["/healthz"],
)

_heartbeat = Heartbeat(Role.WEB, version=__version__)
_heartbeat.start()
atexit.register(_heartbeat.stop)
