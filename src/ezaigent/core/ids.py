"""Identifiers: short, lower case, sortable by creation time, safe in branch names and paths."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32
_TIME_CHARS = 9  # 45 bits of milliseconds since 1970: good until the year 3084
_RANDOM_CHARS = 7
_RANDOM_BITS = 5 * _RANDOM_CHARS  # within one millisecond
_STEP_BITS = 20


def _encode(value: int, length: int) -> str:
    chars: list[str] = []
    for _ in range(length):
        value, digit = divmod(value, 32)
        chars.append(_ALPHABET[digit])
    return "".join(reversed(chars))


class _Sequence:
    """The last id of this process: the next sorts after it, in the same millisecond and after a step of the clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            fresh = (time.time_ns() // 1_000_000 << _RANDOM_BITS) + secrets.randbits(_RANDOM_BITS)
            # A step of chance, not of one: another process that began at the same number goes another way.
            self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(_STEP_BITS)
            return self._last


_sequence = _Sequence()


def new_id() -> str:
    """Return a new 16-character id; within a process it sorts after all earlier ones, else to the millisecond."""
    return _encode(_sequence.next(), _TIME_CHARS + _RANDOM_CHARS)
