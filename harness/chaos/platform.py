"""Workers whose clocks can be stepped and set apart.

Every process of the platform uses the database's clock. Here it is replaced inside the database: a schema in front of
`pg_catalog` has other functions for the current time, which add a step. Production code needs no change for it. The
clock of a worker's host is set apart inside the worker.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from psycopg import sql

from commands_platform.local.servers import EmbeddedServers, temporary_servers
from harness.chaos.plan import TIMEOUT_SECONDS
from harness.chaos.small_disk import small_disk
from harness.processes import ROOT, PlatformProcesses

_CLOCK = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.clock (step interval NOT NULL);
INSERT INTO chaos.clock VALUES ('0');
CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + (SELECT step FROM chaos.clock)';
CREATE FUNCTION chaos.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.statement_timestamp() + (SELECT step FROM chaos.clock)';
ALTER DATABASE commands_platform SET search_path = chaos, pg_catalog, public;
"""

_CHAOS_ENVIRONMENT = {"REDIS_KEY_PREFIX": "chaos:", "DATABASE_POOL_SIZE": "4", "LOG_LEVEL": "WARNING"}
# These waits are short enough for a run of minutes. A lease is longer than the time after which others take over.
SHORT_WAITS = {
    "CALLBACK_TIMEOUT_SECONDS": f"{TIMEOUT_SECONDS:.0f}",
    "DELIVERY_LEASE_SECONDS": "15",
    "DELIVERY_RETRY_DELAYS": ",".join(["1"] * 19),
}


class ChaosPlatform(PlatformProcesses):
    """Workers without a web, because the load is written by SQL.

    The clocks of hosts are `hosts_apart` seconds ahead for the first worker of each kind, and behind for the second.
    """

    def __init__(
        self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str], *, hosts_apart: float = 0.0
    ) -> None:
        super().__init__(directory, servers, {**_CHAOS_ENVIRONMENT, **environment})
        self._hosts_apart = hosts_apart
        self.has_broker = True

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

    def count_unfinished(self) -> int:
        """Returns how many schedules are not over, plus how many deliveries are not finished."""
        ((count,),) = self.query(
            "SELECT (SELECT count(*) FROM scheduling_scheduledexecution WHERE is_active)"
            " + (SELECT count(*) FROM deliveries_delivery WHERE state = 'pending')"
        )
        return int(count)

    def step_clock(self, by: timedelta) -> None:
        """Steps the platform's clock, for all of its processes at once."""
        self.query("UPDATE chaos.clock SET step = step + %s", [by])

    def set_database_options(self, options: Mapping[str, str]) -> None:
        """Sets options of PostgreSQL that need no restart."""
        for name, value in options.items():
            self.query(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        self.query("SELECT pg_reload_conf()")

    def flush_broker(self) -> None:
        with self.redis() as client:
            client.flushall()

    def stop_broker(self) -> None:
        """Ends Valkey at once, as a crash would."""
        assert self.servers.valkey is not None
        self.has_broker = False
        self.servers.valkey.kill()

    def start_broker(self) -> None:
        assert self.servers.valkey is not None
        self.servers.valkey.start()
        self.has_broker = True

    def command_of(self, name: str) -> str:
        command = super().command_of(name)
        number = int(name.partition(".")[2] or 0)
        if not self._hosts_apart or number not in (1, 2):
            return command
        seconds = self._hosts_apart if number == 1 else -self._hosts_apart
        return command.replace("python -m ", f"python -m harness.chaos.host_clock {seconds} ", 1)


@contextmanager
def chaos_platform(*, hosts_apart: float = 0.0, disk_megabytes: int = 0, **environment: str) -> Iterator[ChaosPlatform]:
    """Runs durable servers for a platform that has no processes yet, and ends everything afterwards.

    With `disk_megabytes`, PostgreSQL's data are on a disk of that size. Raises NotPossibleHereError if there can be
    none.
    """
    directory = Path(tempfile.mkdtemp(prefix="commands-chaos-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        if disk_megabytes:
            stack.enter_context(small_disk(directory / "postgres", megabytes=disk_megabytes))
        # The servers are durable, because a slot could be written twice if a crash undid commits.
        servers = stack.enter_context(temporary_servers(directory, durable=True, shared_buffers="64MB"))
        platform = ChaosPlatform(directory, servers, environment, hosts_apart=hosts_apart)
        stack.callback(platform.stop_all)
        yield platform
