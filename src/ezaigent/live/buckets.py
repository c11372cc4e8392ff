"""Token buckets inside the process."""

from __future__ import annotations

import math
import time

from ezaigent.core.errors import UsageError

_BUCKETS = 10_000  # a fleet has a few per provider; beyond this the full ones are forgotten


def check_take(bucket: str, amount: float, rate: float, burst: float) -> None:
    """Refuse numbers with which no waiting would ever help."""
    if not (0 < rate < math.inf and 0 < burst < math.inf):
        raise UsageError(f"bucket {bucket!r} needs a rate and a burst above 0, got rate {rate!r} and burst {burst!r}")
    if not 0 <= amount <= burst:
        raise UsageError(
            f"bucket {bucket!r} can never grant {amount!r}: it holds {burst!r}; ask for less or raise burst"
        )


class Buckets:
    """Buckets by name: each holds at most its burst and refills with time."""

    def __init__(self) -> None:
        """Begin with all buckets full."""
        self._levels: dict[str, tuple[float, float, float]] = {}

    def take(self, bucket: str, amount: float, *, rate: float, burst: float) -> float:
        """Take ``amount`` and return 0.0, or take nothing and return the seconds until it would be there."""
        check_take(bucket, amount, rate, burst)
        now = time.monotonic()
        level, at, _ = self._levels.get(bucket, (burst, now, now))
        level = min(burst, level + (now - at) * rate)
        wait = max(0.0, (amount - level) / rate)
        if wait == 0.0:
            level -= amount
        self._levels[bucket] = (level, now, now + (burst - level) / rate)
        if len(self._levels) > _BUCKETS:
            self._levels = {name: state for name, state in self._levels.items() if state[2] > now}
        return wait
