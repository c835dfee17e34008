"""Encryption at rest for what must be read again: provider keys, stored replies.

MultiFernet: the first of settings.FIELD_ENCRYPTION_KEYS encrypts, all of them decrypt, so keys rotate by
putting a new one in front.
"""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class CannotDecrypt(Exception):
    """The stored secret was written with a key that is no longer configured."""


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(plain: bytes) -> bytes:
    """Encrypt with the newest key."""
    return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(plain)


def renew(token: bytes) -> bytes:
    """The same, encrypted with the newest key. Raises CannotDecrypt."""
    return encrypt(decrypt(token))


def decrypt(token: bytes) -> bytes:
    """Decrypt with whichever configured key fits. Raises CannotDecrypt, never returns the ciphertext."""
    try:
        return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(token)
    except InvalidToken as error:
        raise CannotDecrypt("no configured key decrypts this value") from error


@lru_cache(maxsize=4096)
def decrypted_text(token: bytes) -> str:
    """A secret that many calls need, such as a provider's key: decrypting it takes as long as the rest of a call."""
    return decrypt(token).decode()
