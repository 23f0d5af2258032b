"""Text that is encrypted in the database, under the keys of PIM_ENCRYPTION_KEYS.

Stored is `fernet:<key id>:<token>` (Fernet: AES-128-CBC with HMAC-SHA256). The id says which key is needed, so a
missing one is reported as that, and rotation can tell what it has still to do.
"""

import base64
import hmac
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from pim.env import env, generated_secret

MARKER = "fernet"
_MIN_KEY_LENGTH = 16


class DecryptionError(Exception):
    """A stored value that none of the configured keys opens, or that was never encrypted."""


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """A text that only this process's keys can read; a database dump and `dumpdata` hold the encrypted form.

    It can be tested for NULL and nothing else: equal texts are encrypted to different values.
    """

    def get_prep_value(self, value: Any) -> Any:
        text = super().get_prep_value(value)
        return text if text is None or hasattr(text, "resolve_expression") else encrypt(text)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return None if value is None else decrypt(value)

    def to_python(self, value: Any) -> Any:
        """Also reads what `value_to_string` gave, for `loaddata`."""
        if isinstance(value, str) and value.startswith(f"{MARKER}:"):
            return decrypt(value)
        return super().to_python(value)

    def value_to_string(self, obj: models.Model) -> Any:
        return self.get_prep_value(self.value_from_object(obj))

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None


@cache
def keys() -> dict[str, bytes]:
    """The keys, of 32 bytes each, by id; the first encrypts, all decrypt. Without PIM_ENCRYPTION_KEYS one is generated.

    A generated key goes on decrypting after keys are configured, until its file is removed.
    Raises ImproperlyConfigured for a key that is too short to be one.
    """
    configured = env("PIM_ENCRYPTION_KEYS")  # not env_list, whose message would show them
    texts = [text.strip() for text in configured.split(",")] if configured else []
    if any(len(text) < _MIN_KEY_LENGTH for text in texts):
        raise ImproperlyConfigured(
            f"PIM_ENCRYPTION_KEYS: each key must have at least {_MIN_KEY_LENGTH} characters, and be random."
        )
    if not texts or (settings.DATA_DIR / "secrets" / "encryption_key").exists():
        texts.append(generated_secret(settings.DATA_DIR, "encryption_key"))
    return dict(_key(text) for text in texts)


def encrypt(text: str) -> str:
    """The stored form of `text` under the first key."""
    key_id, key = next(iter(keys().items()))
    return f"{MARKER}:{key_id}:{_fernet(key).encrypt(text.encode()).decode('ascii')}"


def decrypt(stored: str) -> str:
    """The text of a stored form. Raises DecryptionError, whose message never holds the value."""
    marker, _colon, rest = stored.partition(":")
    key_id, _colon, token = rest.partition(":")
    if marker != MARKER or not token:
        raise DecryptionError("A stored value is not encrypted.")
    key = keys().get(key_id)
    if key is None:
        raise DecryptionError(
            f"A stored value was encrypted with key {key_id}, which PIM_ENCRYPTION_KEYS lacks; add it at the end."
        )
    try:
        return _fernet(key).decrypt(token).decode()
    except InvalidToken:
        raise DecryptionError(f"A value stored under key {key_id} was altered or cut short.") from None


def derive(purpose: str) -> list[bytes]:
    """32 bytes for `purpose` from each key, in the keys' order: a secret that need not be stored."""
    return [hmac.digest(key, b"pim derived\0" + purpose.encode(), sha256) for key in keys().values()]


def _key(text: str) -> tuple[str, bytes]:
    """Id and bytes of a key. Whatever its length it becomes 32 bytes; being random it needs no slow derivation."""
    key = sha256(b"pim field encryption\0" + text.encode()).digest()
    return sha256(b"pim key id\0" + key).hexdigest()[:8], key


def _fernet(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(key))
