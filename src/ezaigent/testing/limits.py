"""Token buckets per key, provider and model, for tests of rate limiting."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider allows; None is unlimited."""

    requests: int | None = None
    """Requests per window."""
    tokens: int | None = None
    """Input tokens per window."""
    window: float = 60.0
    """Seconds of the window; the buckets refill evenly over it."""


@dataclass(frozen=True, slots=True)
class Level:
    """One bucket as a client is told of it."""

    limit: int
    remaining: int
    reset: float
    """Seconds until it is full again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a client stands after a request."""

    provider: str
    requests: Level | None
    tokens: Level | None
    cost: int
    """Input tokens of this request."""
    retry_after: float
    """Seconds until this request would be granted; 0: it was."""


class _Bucket:
    def __init__(self, limit: int, window: float, now: float) -> None:
        self.limit = limit
        self.rate = limit / window
        self.level = float(limit)
        self.at = now

    def refill(self, now: float) -> None:
        self.level = min(float(self.limit), self.level + (now - self.at) * self.rate)
        self.at = now

    def wait(self, amount: float) -> float:
        """Return the seconds until ``amount`` is there; more than the bucket holds is granted when it is full."""
        missing = min(amount, self.limit) - self.level
        return missing / self.rate if missing > 1e-9 else 0.0  # noqa: PLR2004

    def show(self) -> Level:
        return Level(self.limit, max(0, math.floor(self.level)), (self.limit - self.level) / self.rate)


class RateLimiter:
    """The limits in force, by patterns for provider and model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without limits; ``clock`` gives seconds."""
        self._clock = clock
        self._rules: list[tuple[str, str, Limits]] = []
        self._buckets: dict[tuple[str | None, str, str], tuple[_Bucket | None, _Bucket | None]] = {}

    @property
    def active(self) -> bool:
        """Whether anything is limited."""
        return bool(self._rules)

    def set(self, limits: Limits, *, provider: str = "*", model: str = "*") -> None:
        """Limit what matches; a later rule goes before an earlier one. Buckets start full."""
        self._rules.insert(0, (provider, model, limits))
        self._buckets.clear()

    def clear(self) -> None:
        """Lift every limit."""
        self._rules.clear()
        self._buckets.clear()

    def take(self, key: str | None, provider: str, model: str, cost: int) -> Standing | None:
        """Ask for one request of ``cost`` input tokens; None where nothing is limited."""
        buckets = self._find(key, provider, model)
        if buckets is None:
            return None
        now = self._clock()
        wants = [(bucket, amount) for bucket, amount in zip(buckets, (1, cost), strict=True) if bucket is not None]
        for bucket, _ in wants:
            bucket.refill(now)
        wait = max((bucket.wait(amount) for bucket, amount in wants), default=0.0)
        if wait == 0:
            for bucket, amount in wants:
                bucket.level -= amount
        requests, tokens = buckets
        return Standing(
            provider=provider,
            requests=None if requests is None else requests.show(),
            tokens=None if tokens is None else tokens.show(),
            cost=cost,
            retry_after=wait,
        )

    def _find(self, key: str | None, provider: str, model: str) -> tuple[_Bucket | None, _Bucket | None] | None:
        place = (key, provider, model)
        if place in self._buckets:
            return self._buckets[place]
        for provider_pattern, model_pattern, limits in self._rules:
            if fnmatchcase(provider, provider_pattern) and fnmatchcase(model, model_pattern):
                now = self._clock()
                made = tuple(
                    None if limit is None else _Bucket(limit, limits.window, now)
                    for limit in (limits.requests, limits.tokens)
                )
                self._buckets[place] = (made[0], made[1])
                return self._buckets[place]
        return None
