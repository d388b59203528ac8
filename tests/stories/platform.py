"""Runs the platform that the stories share, and acts as a team that uses it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands_platform.local.servers import temporary_servers
from harness.platform import Reply, RunningPlatform

_STORY_ENVIRONMENT = {
    "REDIS_KEY_PREFIX": "story:",
    "WEB_WORKERS": "1",
    "DATABASE_POOL_SIZE": "4",
    # These times are short enough for a test. A lease still lasts longer than a request.
    "CALLBACK_TIMEOUT_SECONDS": "2",
    "DELIVERY_LEASE_SECONDS": "3",
    "DELIVERY_RETRY_DELAYS": "1,1,1,1,1,1,1",
}


@contextmanager
def running_platform() -> Iterator[RunningPlatform]:
    """Runs a platform that is ready, and ends it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="commands-story-"))
    # The servers are durable: if a crash could undo commits, a slot could be written twice.
    with temporary_servers(directory, durable=True) as servers:
        platform = RunningPlatform(directory, servers, _STORY_ENVIRONMENT)
        platform.manage("migrate", "--noinput", "--verbosity", "0")
        try:
            for name in ("web", "beat", "dispatcher", "deliverer"):
                platform.start(name)
            platform.wait_until_ready()
            yield platform
        finally:
            platform.stop_all()


class Team:
    """An organization with a command, a user and a key. The methods make the requests of a client."""

    def __init__(self, platform: RunningPlatform, *, callback_url: str, name: str) -> None:
        self.platform = platform
        made = platform.manage(
            *("bootstrap", "--organization", name, "--command", "hello", "--callback-url", callback_url),
            *("--user", "Ada Lovelace", "--email", "ada@example.com", "--json"),
        )
        self.made: dict[str, Any] = json.loads(made)
        self.key: str = self.made["api_key"]
        self.token: str = self.post(
            "/v1/auth/fetch-command-exchange-token/", {"user_uuid": self.made["user"]["uuid"]}, token=False
        ).json["token"]

    def post(self, path: str, body: Any, *, token: bool = True) -> Reply:
        return self._call("POST", path, body, token=token)

    def put(self, path: str, body: Any) -> Reply:
        return self._call("PUT", path, body)

    def get(self, path: str) -> Reply:
        return self._call("GET", path)

    def schedule(self, **body: Any) -> str:
        """Creates a schedule and returns its uuid."""
        reply = self.post("/v1/platform/scheduling/", {"name": "story", **body})
        assert reply.status == 200, reply.body
        return str(reply.json["uuid"])

    def ledger(self, uuid: str) -> list[tuple[str, str]]:
        """Returns state and reason of each ledger row of a schedule, in the order of their slots."""
        return self.platform.query(
            "SELECT state, reason FROM deliveries_delivery WHERE source_uuid = %s ORDER BY due_at", [uuid]
        )

    def _call(self, method: str, path: str, body: Any = None, *, token: bool = True) -> Reply:
        headers = {"X-API-KEY": self.key}
        if token:
            headers["X-EXCHANGE-TOKEN"] = self.token
        return self.platform.call(method, path, body, headers=headers)
