"""`manage.py reencrypt_secrets`: encrypts every stored secret by the first key of SECRETS_KEYS."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from commands_platform.lib.database.stored_secrets import reencrypt_all

_MAX_NAMED = 10


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret by the first key of SECRETS_KEYS. Run it after you have put a new key first."
        " Servers can keep running meanwhile, and you can stop it and run it again. When it has succeeded, remove the"
        " old keys."
    )

    def handle(self, *arguments: Any, **options: Any) -> None:
        rows: Counter[str] = Counter()
        changed: Counter[str] = Counter()
        unreadable: list[str] = []
        for portion in reencrypt_all():
            rows[portion.table] += portion.rows
            changed[portion.table] += portion.changed
            unreadable += [f"{portion.table} {key}" for key in portion.unreadable]
            self.stdout.write(f"{portion.table}: {rows[portion.table]} rows read, {changed[portion.table]} reencrypted")
        if unreadable:
            more = f" and {len(unreadable) - _MAX_NAMED} more" if len(unreadable) > _MAX_NAMED else ""
            raise CommandError(
                "SECRETS_KEYS lacks the key of these rows, which are unchanged:"
                f" {', '.join(unreadable[:_MAX_NAMED])}{more}. Add the key to the list and run this again."
            )
        self.stdout.write(self.style.SUCCESS("Every secret is encrypted by the first key."))
