"""How long to wait and how often to try again before another model, or nobody, is asked."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ezaigent.agents.provider_failure import ProviderFailure


@dataclass(frozen=True, slots=True)
class Patience:
    """The bounds of waiting for one model within one call."""

    attempts: int = 8
    """Requests to one model for one call, at most."""
    overloads: int = 3
    """Requests that may find the model overloaded before the next model is asked."""
    total: float = 600.0
    """Seconds from the first request to the last one's start."""
    first: float = 1.0
    """Upper end of the first wait in seconds; it doubles each time."""
    longest: float = 60.0
    """Upper end of the longest wait that is our own choice, in seconds."""

    def wait(
        self, failure: ProviderFailure, *, failures: int, overloads: int, elapsed: float, held: bool = False
    ) -> float | None:
        """Return the seconds to wait before asking the same model again; None: it has had its chances.

        ``failures`` counts the failed requests of this call to this model, ``overloads`` those among them that found
        it overloaded, ``elapsed`` the seconds since the first. Our own waits have full jitter, so that agents that
        failed together do not come back together; a wait that the provider asked for is kept, with up to a tenth
        more for the same reason. ``held``: the gate keeps the wait, with the whole fleet in view; there is none here.
        """
        if held:
            return 0.0 if failures < self.attempts else None
        if failure.kind in ("quota", "billing", "permanent"):
            return None
        if failures >= self.attempts or overloads >= self.overloads:
            return None
        asked = failure.retry_after
        if asked is None:
            seconds = random.uniform(0, min(self.longest, self.first * 2 ** (failures - 1)))  # noqa: S311 - jitter
        else:
            seconds = asked + random.uniform(0, min(asked / 10, self.first))  # noqa: S311 - jitter
        return seconds if elapsed + seconds <= self.total else None
