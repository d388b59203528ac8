"""`manage.py receiver`: prints each callback that comes in on loopback and answers 204, to try things out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from standardwebhooks import Webhook, WebhookVerificationError

_MAX_SHOWN_BODY_BYTES = 4 * 1024 * 1024
_MAX_SHOWN_CHARACTERS = 2000


class Command(BaseCommand):
    help = "Prints the callbacks that come in on a loopback port, and whether their signature is valid."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, required=True, help="The loopback port to listen on.")

    def handle(self, *args: Any, **options: Any) -> None:
        port = options["port"]
        try:
            server = ThreadingHTTPServer(("127.0.0.1", port), _handler(Path(settings.LOCAL_DIR), self.stdout.write))
        except (OSError, OverflowError) as error:
            raise CommandError(f"Cannot listen on 127.0.0.1:{port}: {error}") from error
        self.stdout.write(f"Callbacks to http://127.0.0.1:{port}/ are shown here")
        with server:
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                return


def describe(body: bytes, headers: Mapping[str, str], secret: str | None) -> str:
    """Returns a line that describes a callback, without its exchange token and without control characters."""
    parts = [f"signature {_judge_signature(body, headers, secret)}"]
    if identifier := headers.get("webhook-id"):
        parts.append(f"webhook-id {_shown(identifier)}")
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return ", ".join(["A body that is not a JSON object", *parts])
    if isinstance(execution := content.get("scheduled_execution"), dict):
        title = f"Schedule {_shown(execution.get('name'))}"
        parts[:0] = [f"due at {_shown(execution.get('due_at'))}", f"attempt {_shown(execution.get('attempt'))}"]
        parts.append(f"payload {_shown(content.get('payload'))}")
    elif "event" in content:
        title = f"Event {_shown(content['event'])}"
        parts.append(f"body {_shown(content.get('body'))}")
    else:
        title = "A callback of another kind"
        parts.append(f"keys {_shown(sorted(content))}")
    return ", ".join([title, *parts])


def _judge_signature(body: bytes, headers: Mapping[str, str], secret: str | None) -> str:
    if secret is None:
        return "not checked"
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError) as error:
        return f"INVALID ({error})"
    return "valid"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() else json.dumps(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"


def _known_secret(local_dir: Path) -> str | None:
    """Returns the signing secret of the command that `manage.py up` made. It may be made while the receiver runs."""
    try:
        secret = json.loads((local_dir / "bootstrap.json").read_text())["command"]["signing_secret"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return secret if isinstance(secret, str) and secret else None


def _handler(local_dir: Path, write: Callable[[str], object]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 120

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit() and int(length) <= _MAX_SHOWN_BODY_BYTES):
                self.close_connection = True
                self.send_error(HTTPStatus.LENGTH_REQUIRED if not length else HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            body = self.rfile.read(int(length))
            write(
                describe(body, {name.lower(): value for name, value in self.headers.items()}, _known_secret(local_dir))
            )
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Logs nothing, because each callback is already printed."""

    return Handler
