"""Secrets: how they are made, shown once, and kept so that a copy of the database opens nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

from ezaigent.core.errors import UsageError

PASSWORD_LENGTH: Final = (10, 1024)
"""Characters of the shortest and the longest password."""

_TOKEN: Final = re.compile(r"eza_([0-9a-z]{16})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_AT_ONCE: Final = 2
"""Passwords hashed at the same time: each takes 64 MiB."""


class Token(NamedTuple):
    """A token's two halves: the public id and the secret."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        """What its owner keeps; shown once."""
        return f"eza_{self.id}_{self.secret}"


def read_token(text: str) -> Token | None:
    """Return the halves of a token; None for anything else."""
    found = _TOKEN.fullmatch(text)
    return Token(found[1], found[2]) if found else None


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def fingerprint(secret: str) -> str:
    """Return what is kept of a secret. It is random and long, so a plain hash cannot be turned round."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_token(session_secret: str) -> str:
    """Return the word that a browser must send beside its cookie with every change."""
    return hmac.new(session_secret.encode(), b"ezaigent csrf", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def check_name(name: str) -> str:
    """Return the name if a user or token may have it; raises ``UsageError``."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no usable name: 1 to 64 of a-z, 0-9, dot, dash, underscore, @")
    return name


class Passwords:
    """argon2id with the library's defaults, which are RFC 9106's second choice (64 MiB, 3 passes)."""

    def __init__(self) -> None:
        """Load the library."""
        from argon2 import PasswordHasher

        self._hasher = PasswordHasher()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """Return what is kept of a password. Raises ``UsageError`` for one that is too short or too long."""
        shortest, longest = PASSWORD_LENGTH
        if not shortest <= len(password) <= longest:
            raise UsageError(f"a password has {shortest} to {longest} characters, this one {len(password)}")
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, kept: str | None, password: str) -> bool:
        """Tell whether the password is the one that was kept; without one (no such user) it takes as long."""
        from argon2.exceptions import Argon2Error, InvalidHashError

        if len(password) > PASSWORD_LENGTH[1]:
            return False
        if kept is None and not self._nobody:
            self._nobody = await self.hash(new_secret())
        async with self._room:
            try:
                await asyncio.to_thread(self._hasher.verify, kept or self._nobody, password)
            except (Argon2Error, InvalidHashError):
                return False
        return kept is not None
