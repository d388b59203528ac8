"""Encrypts secrets at rest with AES-256-GCM. The first of the `SECRETS_KEYS` encrypts, and all of them decrypt.

An encrypted text is `enc1.<key id>.<base64 of nonce and ciphertext>`. The id names the key, so only one is tried.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from commands_platform.lib.errors import PlatformError

_SCHEME = "enc1"
_NONCE_BYTES = 12
_ID_BYTES = 4
# Secrets are shorter. Longer texts are answers, which are rarely read.
_MAX_CACHED_LENGTH = 1024


class SecretUnreadableError(PlatformError):
    """A stored secret cannot be decrypted. Check SECRETS_KEYS: it must list the key that encrypted it."""

    code = "secret_unreadable"


class EncryptedText(str):
    """A secret in its encrypted form. Saving it again does not change it."""

    __slots__ = ()


class _Key(NamedTuple):
    id: str
    cipher: AESGCM


def encrypt(plain: str) -> EncryptedText:
    """Returns the text encrypted by the first key. Each call returns a different result."""
    key = _keys(tuple(settings.SECRETS_KEYS))[0]
    nonce = secrets.token_bytes(_NONCE_BYTES)
    content = base64.urlsafe_b64encode(nonce + key.cipher.encrypt(nonce, plain.encode(), None)).decode()
    return EncryptedText(f"{_SCHEME}.{key.id}.{content}")


def decrypt(stored: str) -> str:
    """Returns the text that was encrypted. Raises SecretUnreadableError if no key fits, or if the text was changed."""
    read = _decrypt if len(stored) <= _MAX_CACHED_LENGTH else _decrypt.__wrapped__
    return read(tuple(settings.SECRETS_KEYS), stored)


def decrypt_if_possible(stored: str) -> str:
    """Returns the text that was encrypted, or an EncryptedText if no key fits."""
    try:
        return decrypt(stored)
    except SecretUnreadableError:
        return EncryptedText(stored)


def reencrypt(stored: str) -> str:
    """Returns the secret encrypted by the first key. If it already is, this is the same text."""
    if stored.startswith(f"{_SCHEME}.{_keys(tuple(settings.SECRETS_KEYS))[0].id}."):
        return stored
    return encrypt(decrypt(stored))


def encrypt_values(values: Mapping[str, str]) -> dict[str, str]:
    """Returns the object with each value encrypted. Names stay readable."""
    return {name: value if isinstance(value, EncryptedText) else encrypt(value) for name, value in values.items()}


def decrypt_values(stored: Mapping[str, str]) -> dict[str, str]:
    """Returns the object with each value decrypted. Raises SecretUnreadableError."""
    return {name: decrypt(value) for name, value in stored.items()}


# The cache is keyed by the settings, so that tests can change them.
@lru_cache(maxsize=8)
def _keys(texts: tuple[str, ...]) -> tuple[_Key, ...]:
    return tuple(map(_derive, texts))


def _derive(text: str) -> _Key:
    material = HKDF(SHA256(), 32 + _ID_BYTES, salt=None, info=b"commands-platform secrets at rest").derive(
        text.encode()
    )
    return _Key(material[32:].hex(), AESGCM(material[:32]))


# Commands and schedules are read far more often than their secrets change.
@lru_cache(maxsize=4096)
def _decrypt(texts: tuple[str, ...], stored: str) -> str:
    scheme, _, rest = stored.partition(".")
    id_, _, content = rest.partition(".")
    key = next((key for key in _keys(texts) if key.id == id_), None)
    if scheme != _SCHEME or key is None:
        raise SecretUnreadableError
    try:
        raw = base64.urlsafe_b64decode(content)
        return key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise SecretUnreadableError from error
