"""Identifiers: short, lower case, sortable by creation time, safe in branch names and paths."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32
_TIME_CHARS = 9  # 45 bits of milliseconds since 1970: good until the year 3084
_RANDOM_CHARS = 7  # 35 random bits within one millisecond


def _encode(value: int, length: int) -> str:
    chars: list[str] = []
    for _ in range(length):
        value, digit = divmod(value, 32)
        chars.append(_ALPHABET[digit])
    return "".join(reversed(chars))


def new_id() -> str:
    """Return a new 16-character id; later ids sort after earlier ones (to the millisecond)."""
    return _encode(time.time_ns() // 1_000_000, _TIME_CHARS) + _encode(
        secrets.randbits(5 * _RANDOM_CHARS), _RANDOM_CHARS
    )
