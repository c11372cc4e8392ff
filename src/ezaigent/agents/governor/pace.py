"""How fast an account may be used now: a pure function of what is known of it and of the time.

After a 429 the fleet pauses, then starts below the rate that went well, with next to no burst, and both grow with time
until the next 429 (additive increase, multiplicative decrease). That growth is computed from the time alone, so it
needs no further word between the workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ezaigent.agents.governor.state import AccountState, Limit, Slow

SAFETY: Final = 0.98
"""Share of a told rate and burst that is used; the rest is for clocks and for calls under way."""
UNLIMITED: Final = 1e6
"""Rate and burst of an account of which nothing is known yet."""
_RAMP: Final = 10.0
"""Seconds after a pause in which the burst comes back."""
_TRUST: Final = 600.0
"""Seconds in which the whole burst is believed in again."""
_BACK: Final = 60.0
"""Seconds in which the rate comes back to a told limit."""
_GROWTH: Final = 0.003
"""Share of the rate that is added each second where the limit is not told."""
_SEARCH: Final = 1.04
"""Its growth a second while it is no more than a first guess."""
_STALE: Final = 120.0
"""Seconds after which a rate that met no 429 is old knowledge, and grows faster."""
_FASTER: Final = 1.02
"""The growth a second from then on; 35 seconds double the rate."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The bucket that an account's meter has now."""

    rate: float
    burst: float


def is_known(account: AccountState, known: Mapping[str, Limit]) -> bool:
    """Whether anything tells how many requests the account takes."""
    return bool(account.slow or known or account.limits)


def paces(account: AccountState, known: Mapping[str, Limit], now: float) -> dict[str, Pace]:
    """Return the pace of each meter that limits the account; requests always, and first."""
    limits = {meter: _tighter(account.limits.get(meter), known.get(meter)) for meter in {*account.limits, *known}}
    slow = account.slow
    found = {"requests": _requests(limits.pop("requests", None), slow, now)}
    for meter, limit in limits.items():
        found[meter] = Pace(limit.rate * SAFETY, max(1.0, limit.burst * SAFETY * _share(slow, now)))
    return found


def request_rate(account: AccountState, known: Mapping[str, Limit], now: float) -> float | None:
    """Return the requests a second that are allowed now; None where nothing is known."""
    return paces(account, known, now)["requests"].rate if is_known(account, known) else None


def _requests(limit: Limit | None, slow: Slow | None, now: float) -> Pace:
    if slow is None:
        if limit is None:
            return Pace(UNLIMITED, UNLIMITED)
        return Pace(limit.rate * SAFETY, max(1.0, limit.burst * SAFETY))
    since = slow.pause.past(now)
    if limit is None:
        rate = min(UNLIMITED, slow.rate * _growth(since, sure=slow.sure))
        return Pace(rate, max(1.0, rate * min(1.0, since / _RAMP)))
    ceiling = limit.rate * SAFETY
    rate = min(ceiling, slow.rate + max(0.0, ceiling - slow.rate) * since / _BACK)
    return Pace(rate, max(1.0, limit.burst * SAFETY * _share(slow, now)))


def _growth(since: float, *, sure: bool) -> float:
    since = min(since, 3600.0)
    return (1 + _GROWTH * since) * _FASTER ** max(0.0, since - _STALE) if sure else _SEARCH**since


def _share(slow: Slow | None, now: float) -> float:
    """Return the share of a burst that may be used: little after a pause, then what is believed in."""
    if slow is None:
        return 1.0
    since = slow.pause.past(now)
    return min(1.0, slow.trust + since / _TRUST) * min(1.0, since / _RAMP)


def _tighter(one: Limit | None, other: Limit | None) -> Limit:
    both = [limit for limit in (one, other) if limit is not None]
    return Limit(min(limit.rate for limit in both), min(limit.burst for limit in both))
