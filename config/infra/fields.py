"""Encrypted model fields: secrets of tenants at rest, with keys that rotate."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class UndecryptableError(RuntimeError):
    """No key in FIELD_KEYS opens a stored value: the key that wrote it was removed too early."""


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    """Build the cipher: the first key encrypts, all of them decrypt. Any string serves as a key (it is hashed)."""
    return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys])


def encrypt(value: str) -> str:
    """Encrypt with the newest key."""
    return _box(tuple(settings.FIELD_KEYS)).encrypt(value.encode()).decode()


def decrypt(value: str) -> str:
    """Decrypt with whichever key fits.

    Raises: UndecryptableError.
    """
    try:
        return _box(tuple(settings.FIELD_KEYS)).decrypt(value.encode()).decode()
    except InvalidToken as error:
        raise UndecryptableError("a stored secret can't be decrypted: put its key back into FIELD_KEYS") from error


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Text that is encrypted in the database and plain in Python; it can't be searched. Empty stays empty."""

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt on the way in."""
        prepared = super().get_prep_value(value)
        return encrypt(prepared) if prepared else prepared

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str | None:
        """Decrypt on the way out."""
        return decrypt(value) if value else value
