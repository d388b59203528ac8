"""Model fields whose values are encrypted in the database, and plain text in Python.

A value that no key decrypts is read as an EncryptedText, so that its row can still be listed and saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import orjson
from django.db import models

from commands_platform.lib import encryption
from commands_platform.lib.encryption import EncryptedText
from commands_platform.lib.json.column import JsonTextField

if TYPE_CHECKING:
    from django.db.models.lookups import Lookup

    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


@runtime_checkable
class HasSecrets(Protocol):
    """A field whose column contains secrets."""

    def reencrypt(self, stored: str) -> str:
        """Returns the column's text with its secrets encrypted by the first key. Raises SecretUnreadableError."""
        ...


class EncryptedTextField(_TextField):
    """A text that is encrypted in the database. An empty text stays empty, and is the only value to filter by."""

    def from_db_value(self, value: str | None, *_context: object) -> str | None:
        return encryption.decrypt_if_possible(value) if value else value

    def get_prep_value(self, value: Any) -> str | None:
        if not value or isinstance(value, EncryptedText):
            return value if value is None else str(value)
        return encryption.encrypt(str(value))

    def get_lookup(self, lookup_name: str) -> type[Lookup[Any]] | None:
        return super().get_lookup(lookup_name) if lookup_name in {"exact", "isnull"} else None

    def reencrypt(self, stored: str) -> str:
        return encryption.reencrypt(stored) if stored else stored


class EncryptedValuesField(JsonTextField):
    """A JSON object of texts. Each value is encrypted, and the names are not."""

    def from_db_value(self, value: str | None, *_context: object) -> Any:
        stored = super().from_db_value(value)
        return stored and {name: encryption.decrypt_if_possible(text) for name, text in stored.items()}

    def get_prep_value(self, value: Any) -> str | None:
        return super().get_prep_value(encryption.encrypt_values(value) if value else value)

    def reencrypt(self, stored: str) -> str:
        return _reencrypt_values(stored)


class CopiedValuesField(_TextField):
    """The text of an EncryptedValuesField, copied by SQL, or empty. Reading it does not decrypt it."""

    def reencrypt(self, stored: str) -> str:
        return _reencrypt_values(stored) if stored else stored


def encrypted_json(values: dict[str, str]) -> str:
    """Returns the object as the text of a CopiedValuesField."""
    return orjson.dumps(encryption.encrypt_values(values)).decode() if values else ""


def _reencrypt_values(stored: str) -> str:
    values: dict[str, str] = orjson.loads(stored)
    return orjson.dumps({name: encryption.reencrypt(text) for name, text in values.items()}).decode()
