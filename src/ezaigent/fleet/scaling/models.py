"""What the autoscaler sees, remembers and decides: plain values, no behaviour.

Times are seconds since 1970 by the database's clock (the simulator's clock begins at 0), durations are seconds, money
is nano-USD. "Since the last look" means since the last snapshot with fresh metrics: each fact is told exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter

Inner = dict[str, float | int | str | None]
"""A policy's inner values by name, for the record of a decision."""


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent and since when it is what it is: busy, idle or starting."""

    agent: str
    since: float
    pinned: bool = False
    """Whether a person asked for this very agent: it is counted, and never told to go."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """An agent that is draining. It takes no further task unless it is taken back."""

    agent: str
    since: float
    recallable: bool = True
    """Whether it may be taken back; not if it leaves for an upgrade or with its worker."""


@dataclass(frozen=True, slots=True)
class Start:
    """A task that began to run."""

    at: float
    wait: float
    """Seconds from the moment it could be claimed."""
    capped: bool | None = None
    """Whether the pool was at its ceiling while it waited; ``None``: the policy knows it from its own memory."""


@dataclass(frozen=True, slots=True)
class Finish:
    """A run that ended, well or not."""

    at: float
    seconds: float
    """Service time: from claim to settled."""
    failed: bool = False
    limited: bool = False
    """Whether it failed because of a provider's limit (429, quota), which more agents cannot mend."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Agents that somebody else allows this pool at most; ``None``: no opinion."""

    budget: int | None = None
    """From budgets kept elsewhere; 0 is a budget stop: busy agents drain."""
    provider: int | None = None
    """From the provider governor, such as what its quota sustains."""
    host: int | None = None
    """From the host guard: what memory, disk and IO pressure leave room for."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What the pool has used in the present hour and day (UTC)."""

    hour_agent_seconds: float = 0.0
    day_agent_seconds: float = 0.0
    hour_nano_usd: int = 0
    day_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment."""

    name: str
    queued: int = 0
    """Tasks that could be claimed now and are not."""
    busy: tuple[Seat, ...] = ()
    """Agents that run a task, and since when."""
    idle: tuple[Seat, ...] = ()
    """Agents that are ready and have nothing to do, and since when."""
    starting: tuple[Seat, ...] = ()
    """Agents that were started and are not ready yet."""
    draining: tuple[Leaving, ...] = ()
    """Agents that leave; in none of the other groups."""
    arrivals: int = 0
    """Tasks that became claimable since the last look."""
    starts: tuple[Start, ...] = ()
    """Tasks that began to run since the last look."""
    finishes: tuple[Finish, ...] = ()
    """Runs that ended since the last look."""
    startups: tuple[float, ...] = ()
    """Seconds from order to readiness, of the agents that became ready since the last look."""
    failed_starts: int = 0
    """Agents that never became ready, known since the last look."""
    limited_share: float = 0.0
    """Share of 429s in the provider calls of the last minute, 0 to 1."""
    quota_left: float | None = None
    """Share of the provider's quota that is left, 0 to 1; ``None``: unknown."""
    metrics_age: float = 0.0
    """Seconds since what is told here was true. Old metrics teach nothing: what happened meanwhile belongs into the
    next fresh look."""
    ceilings: Ceilings = field(default_factory=Ceilings)
    spending: Spending = field(default_factory=Spending)

    @property
    def size(self) -> int:
        """Agents that are there or on the way, draining ones not counted."""
        return len(self.busy) + len(self.idle) + len(self.starting)

    @property
    def pinned(self) -> int:
        """Agents that stay whatever is decided."""
        return sum(seat.pinned for seats in (self.busy, self.idle, self.starting) for seat in seats)


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """All pools at one moment."""

    at: float
    pools: tuple[PoolSnapshot, ...]


@dataclass(frozen=True, slots=True)
class PoolState:
    """What the policies and guards remember of one pool. The defaults are a pool that was never looked at."""

    looked_at: float | None = None
    target: int | None = None
    """Agents decided last time."""
    fast: float = 0.0
    """Arrivals per second, exponentially weighted over 60 s."""
    slow: float = 0.0
    """The same over 600 s."""
    alpha: float = 0.045
    """``a`` of the ``slo`` policy: the miss probability that its reserve is made for."""
    services: tuple[float, ...] = ()
    """Seconds of the last 200 runs, oldest first."""
    service_mean: float | None = None
    service_recent: float | None = None
    """Mean of about the last 20 runs."""
    startups: tuple[float, ...] = ()
    """Seconds of the last 50 start-ups, oldest first."""
    startup_p90: float | None = None
    capped: bool = False
    """Whether the pool was at its ceiling after the last decision."""
    capped_at: float | None = None
    """When it last was."""
    scaled_at: float | None = None
    """When a policy last changed the number of agents; cooldowns count from here."""
    shrinking: bool = False
    """Whether ``threshold`` is in the middle of draining to min."""
    failures: float = 0.0
    """Share of about the last 20 runs that failed, for whatever reason."""
    limits: float = 0.0
    """Share of about the last 20 runs that failed at a provider's limit."""
    errors: float = 0.0
    """Share of about the last 20 runs that failed for another reason."""
    errors_usual: float = 0.05
    """The baseline: the same over about 200 runs, not learned while the guard holds."""
    guarding: bool = False
    """Whether the error guard holds scale-up."""
    canary_at: float | None = None
    canary_wait: float = 0.0
    """Seconds after ``canary_at`` before one more agent may be tried."""
    provider: float | None = None
    """Agents that the provider is believed to sustain; ``None``: not limited."""
    provider_at: float | None = None
    """When that belief last changed."""
    start_failures: int = 0
    """Looks in a row that told of failed starts."""
    start_after: float | None = None
    """When agents may be started again."""


@dataclass(frozen=True, slots=True)
class PolicyState:
    """All that is remembered from one decision to the next, by pool."""

    pools: Mapping[str, PoolState] = field(default_factory=dict[str, PoolState])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"pools": {name: asdict(state) for name, state in self.pools.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PolicyState:
        """Read what ``to_json`` wrote; keys of other versions are passed over, missing ones keep their default.

        Raises ``ValueError`` (pydantic's) when a value cannot be what it should.
        """
        pools: Mapping[str, Any] = data.get("pools", {})
        return cls({name: _pool_state().validate_python(state) for name, state in pools.items()})


@cache
def _pool_state() -> TypeAdapter[PoolState]:
    return TypeAdapter(PoolState)


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do, in this order."""

    recall: tuple[str, ...] = ()
    """Draining agents that stay after all."""
    start: int = 0
    """New agents to start."""
    retire: tuple[str, ...] = ()
    """Agents without a task (idle, or not ready yet) to stop at once."""
    drain: tuple[str, ...] = ()
    """Busy agents that leave when their task is done; only after a config cut or a budget stop."""

    def __bool__(self) -> bool:
        return bool(self.start or self.recall or self.retire or self.drain)


NOTHING = Orders()


@dataclass(frozen=True, slots=True)
class PoolDecision:
    """What is to become of one pool, and why."""

    pool: str
    policy: str
    before: int
    """Agents there or on the way, draining ones not counted."""
    wanted: int
    """What the policy asked for, before min and ceilings."""
    target: int
    """Agents there or on the way when the orders are carried out."""
    orders: Orders
    binding: str | None
    """What kept ``target`` from ``wanted``, by name; ``None``: nothing did."""
    reason: str
    """One sentence for people."""
    inner: Inner
    """The policy's inner values."""
    dry_run: bool = False
    """Whether this is for the record only."""

    @property
    def delta(self) -> int:
        """Agents more (or fewer, if negative) than before."""
        return self.target - self.before

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON for the record."""
        return asdict(self) | {"delta": self.delta}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about all pools, and what to remember for the next decision."""

    at: float
    pools: tuple[PoolDecision, ...]
    state: PolicyState
