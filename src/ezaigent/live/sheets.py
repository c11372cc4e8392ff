"""Sheets inside the process: small shared documents, each with token buckets beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ezaigent.core.errors import UsageError
from ezaigent.live.ports import Draw, Drawn, Sheet


@dataclass(slots=True)
class _Kept:
    till: float
    version: int = 0
    text: bytes = b""
    buckets: dict[str, tuple[float, float, float]] = field(default_factory=dict[str, tuple[float, float, float]])
    """Level, when it had that, and the sum of what was drawn."""


def check_draws(name: str, draws: Sequence[Draw]) -> None:
    """Refuse numbers that no bucket can have."""
    for draw in draws:
        if not (0 < draw.rate < math.inf and 0 < draw.burst < math.inf and math.isfinite(draw.amount)):
            raise UsageError(
                f"bucket {draw.bucket!r} of sheet {name!r} needs a rate and a burst above 0 and a finite amount, "
                f"got rate {draw.rate!r}, burst {draw.burst!r} and amount {draw.amount!r}"
            )


class Sheets:
    """Sheets by name, each until its time is over."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[str, _Kept] = {}
        self._epoch = time.time() - time.monotonic()

    def swap(self, name: str, version: int, text: bytes, *, ttl: float) -> Sheet:
        """Write ``text`` if the sheet still has ``version``; return the sheet as it is then."""
        now = self._now()
        kept = self._find(name, now, ttl)
        if kept.version == version:
            kept.version = version + 1 if version else int(now * 1000) + 1
            kept.text = text
        return Sheet(kept.version, kept.text, now)

    def draw(self, name: str, version: int | None, draws: Sequence[Draw], *, patience: float, ttl: float) -> Drawn:
        """Draw from the buckets together, or not at all."""
        check_draws(name, draws)
        now = self._now()
        kept = self._find(name, now, ttl)
        sheet = Sheet(kept.version, kept.text, now)
        if version is not None and version != kept.version:
            return Drawn(sheet, granted=False, stale=True, wait=0.0, totals=())
        after: dict[str, tuple[float, float, float]] = {}
        wait = 0.0
        for one in draws:
            level, at, total = kept.buckets.get(one.bucket, (one.burst, now, 0.0))
            level = min(one.burst, level + max(0.0, now - at) * one.rate)
            later = 0.0 if one.since is None else total - one.since
            if one.at_least is not None:
                level = max(level, one.at_least - later)
            if one.at_most is not None:
                level = min(level, one.at_most - later)
            level = min(one.burst, level - one.amount)
            if one.amount > 0:
                wait = max(wait, -level / one.rate)
            after[one.bucket] = (level, now, total + one.amount)
        if wait > patience:
            return Drawn(sheet, granted=False, stale=False, wait=wait, totals=())
        kept.buckets.update(after)
        return Drawn(sheet, granted=True, stale=False, wait=wait, totals=tuple(after[one.bucket][2] for one in draws))

    def _now(self) -> float:
        return self._epoch + time.monotonic()

    def _find(self, name: str, now: float, ttl: float) -> _Kept:
        kept = self._kept.get(name)
        if kept is None or kept.till <= now:
            self._kept = {key: value for key, value in self._kept.items() if value.till > now}
            kept = self._kept[name] = _Kept(now + ttl)
        kept.till = now + ttl
        return kept
