"""A client of the API that sends JSON, a key and, if there is one, a token, as a real client does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from django.http import HttpResponse
from django.test import Client

from auth_tokens.models import ApiKey
from organizations.models import Command, Organization, User
from tests.factories import make_api_key, make_command, make_organization, make_token, make_user

if TYPE_CHECKING:

    class ApiResponse(HttpResponse):
        """A response as Django's test client returns it."""

        def json(self) -> Any: ...

else:
    ApiResponse = HttpResponse


@dataclass(frozen=True)
class Caller:
    """A caller of the API: an organization with a command, a user, a key of the command, and a token for the user."""

    organization: Organization
    command: Command
    user: User
    api_key: ApiKey
    key: str
    token: str

    def with_scopes(self, *scopes: str) -> Caller:
        """Returns the same caller with a key that has only these scopes."""
        # A key that manages the organization is not bound to a command.
        bound = None if "MANAGE" in scopes else self.command
        row, key = make_api_key(self.organization, command=bound, scopes=list(scopes))
        return Caller(self.organization, self.command, self.user, row, key, self.token)


def make_caller(organization: Organization | None = None, **command: Any) -> Caller:
    organization = organization or make_organization()
    bound = make_command(organization, **command)
    user = make_user(organization)
    api_key, key = make_api_key(command=bound)
    return Caller(organization, bound, user, api_key, key, make_token(bound, user))


class ApiClient:
    """Sends requests with the key and token of `caller`. `token=None` and `key=None` leave the header out."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._client = Client()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        token: str | None = "",
        raw: bytes | None = None,
        media: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> ApiResponse:
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("X-API-KEY", key or self.caller.key)
        if token is not None:
            sent.setdefault("X-EXCHANGE-TOKEN", token or self.caller.token)
        data: Any = raw
        if raw is None:
            data = b"" if body is None else orjson.dumps(body)
        return self._client.generic(method, path, data, media, headers=sent)  # type: ignore[return-value]

    def get(self, path: str, **options: Any) -> ApiResponse:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> ApiResponse:
        return self.request("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> ApiResponse:
        return self.request("PUT", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> ApiResponse:
        return self.request("PATCH", path, body, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> ApiResponse:
        return self.request("DELETE", path, body, **options)
