"""What a policy answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ezaigent.fleet.scaling.models import Inner, PoolState


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy wants of a pool, before min and ceilings."""

    wanted: int
    state: PoolState
    cause: str
    """The first half of the reason: what is the case."""
    inner: Inner = field(default_factory=Inner)
    binding: str | None = None
    """What held the policy itself back, such as its cooldown."""
    cut: bool = False
    """Whether more agents than ``wanted`` must go even if they are busy (they drain): the number was configured."""
    continued: bool = False
    """Whether this goes on with an earlier change, so that no new cooldown begins."""
