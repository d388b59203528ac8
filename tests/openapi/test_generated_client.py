"""A client generated from the OpenAPI document compiles, and works with a running server."""

from __future__ import annotations

import compileall
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.api import ApiClient
from tests.openapi.document import document

PACKAGE = "generated_client"
# The generator knows few types of bodies, and takes any other only under the name of one of these.
_CONFIG = """
post_hooks: []
content_type_overrides:
  text/calendar: application/octet-stream
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the name of the generated package, which can be imported."""
    directory = tmp_path_factory.mktemp("client")
    (directory / "schema.json").write_text(json.dumps(document()))
    (directory / "config.yml").write_text(_CONFIG)
    command: list[str | Path] = [
        Path(sys.executable).with_name("openapi-python-client"), "generate", "--meta", "none", "--fail-on-warning",
        "--path", directory / "schema.json", "--config", directory / "config.yml", "--output-path", directory / PACKAGE,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert compileall.compile_dir(directory / PACKAGE, quiet=1)
    sys.path.insert(0, str(directory))
    yield PACKAGE
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


class Client:
    """Calls the generated functions by the ids of their operations."""

    def __init__(self, package: str, url: str, *, key: str, token: str) -> None:
        self._package = package
        authenticated = import_module(f"{package}.client").AuthenticatedClient
        self._client = authenticated(
            base_url=url, token=key, prefix="", auth_header_name="X-API-KEY", headers={"X-EXCHANGE-TOKEN": token}
        )
        self.models = import_module(f"{package}.models")

    def close(self) -> None:
        self._client.get_httpx_client().close()

    def call(self, tag: str, operation: str, *arguments: Any, **options: Any) -> Any:
        """Returns the parsed body of the answer."""
        return self.respond(tag, operation, *arguments, **options).parsed

    def respond(self, tag: str, operation: str, *arguments: Any, **options: Any) -> Any:
        """Returns the whole answer, with its status and headers."""
        module = import_module(f"{self._package}.api.{tag}.{operation}")
        return module.sync_detailed(*arguments, client=self._client, **options)

    def model(self, name: str, value: dict[str, Any]) -> Any:
        """Returns an instance of a generated model."""
        return getattr(self.models, name).from_dict(value)


@pytest.fixture
def client(generated: str, transactional_db: None, alice: ApiClient, live_server: LiveServer) -> Iterator[Client]:
    with closing(Client(generated, live_server.url, key=alice.caller.key, token=alice.caller.token)) as client:
        yield client


def create(client: Client, **fields: Any) -> Any:
    body = client.model("ScheduledExecutionInput", {"name": "report", "is_active": False, **fields})
    return client.call("scheduling", "create_schedule", body=body)


def test_a_schedule_is_created_read_changed_and_removed(client: Client) -> None:
    uuid = create(client, cron="0 9 * * MON", payload={"a": [1]}).uuid

    found = client.call("scheduling", "get_schedule", uuid)
    assert (found.name, found.cron, found.payload.to_dict()) == ("report", "0 9 * * MON", {"a": [1]})

    changes = client.model("ScheduledExecutionChanges", {"name": "other"})
    assert client.call("scheduling", "update_schedule", uuid, body=changes).name == "other"
    assert client.respond("scheduling", "delete_schedule", uuid).status_code == 204
    assert client.call("scheduling", "get_schedule", uuid).code == "not_found"


def test_lists_can_be_read_page_by_page(client: Client) -> None:
    made = {create(client, name=f"schedule {number}").uuid for number in range(5)}

    seen: list[Any] = []
    while True:
        page = client.call("scheduling", "list_schedules", limit=2, offset=len(seen))
        seen += page.results
        if page.next_ is None:
            break
    assert page.count == 5
    assert {schedule.uuid for schedule in seen} == made


def test_expanded_fields_are_parsed(client: Client) -> None:
    create(client)

    names = map(client.models.ListSchedulesExpandItem, ("timezone", "last_delivery", "created_at"))
    page = client.call("scheduling", "list_schedules", expand=list(names))
    (schedule,) = page.results
    assert schedule.timezone == "UTC"
    assert schedule.last_delivery is None
    assert schedule.created_at.tzinfo is not None


def test_items_are_stored_and_read(client: Client) -> None:
    stored = client.model("StorageSet", {"op": "set", "params": {"key": "a", "value": {"b": [1, None]}}})
    read = client.model("StorageGet", {"op": "get", "params": {"key": "a"}})
    several = client.model("StorageGetMany", {"op": "get_many", "params": {"keys": ["a", "none"]}})

    assert client.call("storage", "run_storage_operation", body=stored) == {"b": [1, None]}
    answer = client.respond("storage", "run_storage_operation", body=read)
    assert answer.parsed == {"b": [1, None]}
    assert answer.headers["X-Storage-Version"] == "1"
    assert client.call("storage", "run_storage_operation", body=several) == {"a": {"b": [1, None]}}


def test_events_are_subscribed_to_and_published(client: Client) -> None:
    subscription = client.model("EventSubscriptionInput", {"subscriptions": ["forms.*"]})
    event = client.model("EventInput", {"event": "forms.response.created", "body": {"answer": 42}})

    assert client.call("events", "subscribe", body=subscription).hook_uuid > 0
    assert client.call("events", "publish_event", body=event).uuid
    assert client.respond("events", "unsubscribe").status_code == 200


def test_activity_is_recorded_and_listed(client: Client) -> None:
    body = client.model("ActivityInput", {"category": "reports", "action": "sent", "metadata": {"pages": 3}})

    client.call("activity", "record_activity", body=body)
    (record,) = client.call("activity", "list_activity")
    assert (record.category, record.label, record.metadata.to_dict()) == ("reports", None, {"pages": 3})


def test_tokens_can_be_fetched_and_users_listed(client: Client, alice: ApiClient) -> None:
    user = str(alice.caller.user.uuid)
    body = client.model("ExchangeTokenInput", {"user_uuid": user, "include_user_context": True})

    fetched = client.call("exchange_tokens", "fetch_exchange_token", body=body)
    assert fetched.token
    assert str(fetched.user.uuid) == user
    assert [str(each.uuid) for each in client.call("directory", "list_users").results] == [user]


def test_errors_are_parsed_into_their_models(client: Client, generated: str, live_server: LiveServer) -> None:
    wrong = create(client, cron="x")
    assert wrong.code == "params_validation_error"
    assert "cron" in wrong.errors.to_dict()

    bad_key = client.model("StorageGet", {"op": "get", "params": {"key": "a\nb"}})
    assert "LINE FEED" in client.call("storage", "run_storage_operation", body=bad_key).details

    with closing(Client(generated, live_server.url, key="cmdp_unknown", token="")) as stranger:
        assert stranger.call("directory", "get_me").code == "authentication_failed"
