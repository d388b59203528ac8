"""A pytest plugin that gives the test run its own PostgreSQL and its own Valkey.

It is loaded by `-p`, before Django's settings are read. The process that started pytest owns the servers. The
workers of a parallel run inherit their addresses.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from commands_platform.local.servers import temporary_servers

_resources = ExitStack()


def _start() -> None:
    directory = Path(tempfile.mkdtemp(prefix="commands-tests-"))
    servers = _resources.enter_context(temporary_servers(directory))
    os.environ.update(
        {
            "DATABASE_URL": servers.urls.database_url,
            "REDIS_URL": servers.urls.redis_url,
            "SECRET_KEY": "only-for-the-tests-" + "x" * 50,
            "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
            # Allows callbacks to loopback and serves plain HTTP, as under `make run`.
            "COMMANDS_EMBEDDED": "true",
            # Pool threads would keep connections to a test database that must be dropped.
            "DATABASE_POOL_SIZE": "0",
            "LOG_FORMAT": "json",
        }
    )


if "PYTEST_XDIST_WORKER" not in os.environ:
    _start()
os.environ["REDIS_KEY_PREFIX"] = f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}:"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    _resources.close()
