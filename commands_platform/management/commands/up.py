"""`manage.py up`: runs the whole platform on this machine. `make run` calls it."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commands_platform.local.errors import EmbeddedServerError
from commands_platform.local.processes import StopRequestedError, StopRequests
from commands_platform.local.run import Run


class Command(BaseCommand):
    help = "Runs the whole platform on this machine: private servers, migrations, web, beat, workers, a receiver."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="The address to listen on.")
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000", help="The port to listen on.")

    def handle(self, *args: Any, **options: Any) -> None:
        port = options["port"]
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise CommandError(f"PORT must be a number from 1 to 65535, not {port!r}.")
        with StopRequests() as stop:
            try:
                status = Run(options["host"], int(port), stop).run()
            except StopRequestedError:
                status = 0
            except EmbeddedServerError as error:
                raise CommandError(str(error)) from error
        sys.exit(status)
