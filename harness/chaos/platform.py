"""Workers whose clock can be stepped.

Every process of the platform uses the database's clock. Here it is replaced inside the database: a schema in front of
`pg_catalog` has another `clock_timestamp()`, which adds a step. Production code needs no change for it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from commands_platform.local.servers import EmbeddedServers, temporary_servers
from harness.processes import ROOT, PlatformProcesses

_CLOCK = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.clock (step interval NOT NULL);
INSERT INTO chaos.clock VALUES ('0');
CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + (SELECT step FROM chaos.clock)';
ALTER DATABASE commands_platform SET search_path = chaos, pg_catalog, public;
"""

_CHAOS_ENVIRONMENT = {"REDIS_KEY_PREFIX": "chaos:", "DATABASE_POOL_SIZE": "4", "LOG_LEVEL": "WARNING"}


class ChaosPlatform(PlatformProcesses):
    """Workers without a web, because the load is written by SQL."""

    def __init__(self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str]) -> None:
        super().__init__(directory, servers, {**_CHAOS_ENVIRONMENT, **environment})

    def prepare(self, callback_url: str) -> None:
        """Migrates the empty database, makes a command that calls this URL, and installs the stepped clock."""
        command = [sys.executable, "-m", "harness.chaos.load", callback_url]
        subprocess.run(command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, check=True)
        self.query(_CLOCK)

    def now(self) -> datetime:
        """Returns the time of the platform's clock."""
        ((instant,),) = self.query("SELECT clock_timestamp()")
        assert isinstance(instant, datetime)
        return instant

    def step_clock(self, by: timedelta) -> None:
        """Steps the platform's clock, for all of its processes at once."""
        self.query("UPDATE chaos.clock SET step = step + %s", [by])

    def flush_broker(self) -> None:
        with self.redis() as client:
            client.flushall()


@contextmanager
def chaos_platform(**environment: str) -> Iterator[ChaosPlatform]:
    """Runs durable servers for a platform that has no processes yet, and ends everything afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="commands-chaos-"))
    # The servers are durable, because a slot could be written twice if a crash undid commits.
    with temporary_servers(directory, durable=True, shared_buffers="64MB") as servers:
        platform = ChaosPlatform(directory, servers, environment)
        try:
            yield platform
        finally:
            platform.stop_all()
