"""The key by which push services know this fleet (VAPID, RFC 8292): made at first use, kept in the store."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Final

from ezaigent.push import queries
from ezaigent.store import Connection, Database, now

_NAME: Final = "push key"


@dataclass(frozen=True, slots=True)
class PushKey:
    """Both halves, as base64url without padding."""

    public: str
    """65 bytes, uncompressed: browsers take it as ``applicationServerKey``."""
    private: str = field(repr=False)
    """32 bytes."""


async def push_key(db: Database) -> PushKey:
    """Return the fleet's key; of many who make the first one, one wins and all return that one."""
    kept = await db.read(lambda conn: queries.secret(conn, _NAME))
    if kept is None:
        fresh = _fresh()

        def keep(conn: Connection) -> str:
            return queries.keep_secret(conn, _NAME, fresh, now(conn))

        kept = await db.write(keep)
    return PushKey(_public(kept), kept)


def _fresh() -> str:
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    return encoded(made.private_numbers().private_value.to_bytes(32, "big"))


def _public(private: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    half = ec.derive_private_key(int.from_bytes(decoded(private), "big"), ec.SECP256R1()).public_key()
    return encoded(half.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def encoded(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Return what base64url stands for, with or without padding. Raises ``ValueError``."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
