"""What the autoscaler remembers from one look to the next, over restarts and changes of leader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from ezaigent.fleet.scaler.facts import Meters
from ezaigent.fleet.scaling import PolicyState

log = structlog.get_logger(__name__)

HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Used:
    """Agent-seconds of a pool in the present hour and day (UTC)."""

    at: float
    """Up to when they are counted."""
    hour: float = 0.0
    day: float = 0.0

    def after(self, now: float, agents: int, longest: float) -> Used:
        """Return the same with ``agents`` up to ``now``; a gap of more than ``longest`` seconds is not counted."""
        passed = min(max(0.0, now - self.at), longest)
        hour = self.hour if now // HOUR == self.at // HOUR else 0.0
        day = self.day if now // DAY == self.at // DAY else 0.0
        return Used(now, hour + agents * passed, day + agents * passed)


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered. Plain data, replaced as a whole when a look is written down."""

    cursor: int | None = None
    """Number of the last event that was told to the policies; None: begin with the next one."""
    policy: PolicyState = field(default_factory=PolicyState)
    idle: dict[str, float] = field(default_factory=dict[str, float])
    """Since when each idle agent is idle."""
    parked: dict[str, dict[str, float | None]] = field(default_factory=dict[str, dict[str, float | None]])
    """Accounts that nobody may ask, by model: until when; None: nobody knows."""
    limits: dict[str, dict[str, Meters]] = field(default_factory=dict[str, dict[str, Meters]])
    """What providers told that they allow, by model and account."""
    limited: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    """Calls of each pool that met a provider's limit, by slices of ten seconds."""
    used: dict[str, Used] = field(default_factory=dict[str, Used])
    told: dict[str, str] = field(default_factory=dict[str, str])
    """What the last recorded decision on each pool came to: the same is not recorded again."""
    last: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """The last decision on each pool, recorded or not."""

    def forgetting(self, cursor: int) -> Memory:
        """Return the same, to go on with from ``cursor`` as if nothing had happened since the last look."""
        pools = {name: replace(state, looked_at=None) for name, state in self.policy.pools.items()}
        return replace(self, cursor=cursor, policy=PolicyState(pools))

    def to_text(self) -> str:
        """Return it as it is stored."""
        return _json().dump_json(self).decode()

    @classmethod
    def from_text(cls, text: str) -> Memory:
        """Read what ``to_text`` wrote; what another version wrote in another shape counts as nothing remembered."""
        if not text:
            return cls()
        try:
            return _json().validate_json(text)
        except ValidationError as error:
            log.warning("the autoscaler begins anew: its memory cannot be read", errors=error.error_count())
            return cls()


@cache
def _json() -> TypeAdapter[Memory]:
    return TypeAdapter(Memory)
