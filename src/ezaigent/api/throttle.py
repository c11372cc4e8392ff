"""How often a caller may ask: token buckets by caller, and a growing wait after wrong passwords. Per process."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_KEPT: Final = 10_000
"""Callers remembered; the one not seen for longest is forgotten first."""


def one_caller(address: str) -> str:
    """Return what is counted as one: the address; of IPv6 its network of 64 bits, all of which one machine can have."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


class Buckets:
    """A token bucket for each caller."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Let each caller make ``rate`` requests a second in the long run, ``burst`` at once."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take one; return 0, or the seconds to wait when there is none (and nothing is taken)."""
        at = self._clock()
        level, since = self._level.pop(caller, (self._burst, at))
        level = min(self._burst, level + (at - since) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._level[caller] = (level if wait else level - 1, at)
        while len(self._level) > _KEPT:
            self._level.popitem(last=False)
        return wait


_FREE: Final = 5
"""Wrong passwords without a wait."""
_LONGEST: Final = 900.0
_FORGET: Final = 3600.0
_COUNTED: Final = 10
"""Tries beyond the free ones that are kept: the wait after so many is the longest, and after more the same."""


class SignIns:
    """After a few wrong passwords each further try waits twice as long: by address and name, and by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet."""
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str, name: str) -> float:
        """Return the seconds until this may be tried; 0 for now."""
        at = self._clock()
        return max(self._left(key, free, at) for key, free in _keys(address, name))

    def failed(self, address: str, name: str) -> float:
        """Count a wrong password, or a try that may be one; return what ``succeeded`` takes it back by."""
        at = self._clock()
        for key, free in _keys(address, name):
            tries = self._tries.pop(key, [])
            if tries and at - tries[-1] > _FORGET:
                tries = []
            self._tries[key] = [*tries, at][-(free + _COUNTED) :]
        while len(self._tries) > _KEPT:
            self._tries.popitem(last=False)
        return at

    def succeeded(self, address: str, name: str, tried: float) -> None:
        """Take back the try that ``failed`` gave ``tried`` for, and forget the wrong ones of this address and name.

        The wrong ones under other names stay counted: who has a password cannot wipe out guesses at those of others.
        """
        (both, _), (alone, _) = _keys(address, name)
        self._tries.pop(both, None)
        tries = self._tries.get(alone, [])
        if tried in tries:
            tries.remove(tried)
        if not tries:
            self._tries.pop(alone, None)

    def _left(self, key: str, free: int, at: float) -> float:
        tries = self._tries.get(key, [])
        if len(tries) < free:
            return 0.0
        return max(0.0, tries[-1] + min(_LONGEST, 2.0 ** (len(tries) - free)) - at)


def _keys(address: str, name: str) -> tuple[tuple[str, int], ...]:
    who = one_caller(address)
    return ((f"{who} {name}", _FREE), (who, 10 * _FREE))
