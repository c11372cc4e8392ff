"""How long a delivery is tried: over hours, each wait longer, none for all at the same moment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

_WAITS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait before the second, third … attempt; after the last one a delivery is dead."""

    waits: tuple[float, ...] = _WAITS
    jitter: float = 0.2
    """Part of a wait by which it may be longer."""

    @property
    def attempts(self) -> int:
        """How often a delivery is tried in all."""
        return len(self.waits) + 1

    def after(self, attempts: int, at_least: float = 0.0) -> float | None:
        """Return the seconds until the next attempt after ``attempts`` failed; None when that was the last one."""
        if attempts >= self.attempts:
            return None
        wait = max(self.waits[max(attempts, 1) - 1], at_least)
        return wait * (1 + self.jitter * random.random())  # noqa: S311 - spreads load
