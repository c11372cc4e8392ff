"""Pools to decide about, and ways to decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from ezaigent.fleet.scaling import (
    Ceilings,
    Finish,
    FleetSnapshot,
    Leaving,
    PolicyState,
    PoolDecision,
    PoolSnapshot,
    PoolState,
    ScalingSettings,
    Seat,
    Spending,
    Start,
    decide,
)

NOW = 1_000_000.0


def seats(kind: str, ages: Sequence[float], at: float = NOW) -> tuple[Seat, ...]:
    """Agents ``kind-0`` …, each for so many seconds."""
    return tuple(Seat(f"{kind}-{number}", at - age) for number, age in enumerate(ages))


def pool(
    *, queued: int = 0, busy: int = 0, idle: Sequence[float] = (), starting: int = 0, at: float = NOW, **more: Any
) -> PoolSnapshot:
    """A pool; ``idle`` says how long each idle agent has been idle."""
    return PoolSnapshot(
        name="claude",
        queued=queued,
        busy=seats("busy", [600.0 - number for number in range(busy)], at),
        idle=seats("idle", idle, at),
        starting=seats("starting", [5.0] * starting, at),
        **more,
    )


def settings(**values: Any) -> ScalingSettings:
    """Settings with these values for every pool."""
    return ScalingSettings.model_validate(values)


def look(
    snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState | None = None, at: float = NOW
) -> tuple[PoolDecision, PoolState]:
    """Decide about one pool."""
    memory = PolicyState({} if state is None else {snapshot.name: state})
    decision = decide(FleetSnapshot(at, (snapshot,)), memory, config)
    return decision.pools[0], decision.state.pools[snapshot.name]


ages = st.floats(0, 3000)
shares = st.floats(0, 1)
ceilings = st.builds(Ceilings, *[st.none() | st.integers(0, 60)] * 3)
spending = st.builds(Spending, st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 10**12), st.integers(0, 10**12))
starts = st.builds(Start, st.just(NOW), st.floats(0, 500), st.none() | st.booleans())
finishes = st.builds(Finish, st.just(NOW), st.floats(1, 5000), st.booleans(), st.booleans())


@st.composite
def pools(draw: st.DrawFn, *, free: bool = False) -> PoolSnapshot:
    """Any pool; ``free``: nothing from outside limits it."""
    leaving = draw(st.lists(st.tuples(ages, st.booleans()), max_size=8))
    snapshot = pool(
        queued=draw(st.integers(0, 200)),
        busy=draw(st.integers(0, 40)),
        idle=draw(st.lists(ages, max_size=20)),
        starting=draw(st.integers(0, 20)),
        arrivals=draw(st.integers(0, 50)),
        starts=tuple(draw(st.lists(starts, max_size=5))),
        finishes=() if free else tuple(draw(st.lists(finishes, max_size=8))),
        startups=tuple(draw(st.lists(st.floats(0, 300), max_size=4))),
        draining=tuple(Leaving(f"leaving-{n}", NOW - age, back) for n, (age, back) in enumerate(leaving)),
    )
    if free:
        return snapshot
    from dataclasses import replace

    return replace(
        snapshot,
        failed_starts=draw(st.integers(0, 3)),
        limited_share=draw(shares),
        quota_left=draw(st.none() | shares),
        ceilings=draw(ceilings),
        spending=draw(spending),
    )


@st.composite
def configs(draw: st.DrawFn) -> ScalingSettings:
    """Any settings."""
    low = draw(st.integers(0, 10))
    high = draw(st.integers(low, 60))
    down = draw(st.integers(0, 10))
    budgets: dict[str, Any] = {
        f"{window}_{what}": draw(st.none() | st.floats(1, 1e5))
        for window in ("hour",)
        for what in ("usd", "agent_seconds")
    }
    return settings(
        policy=draw(st.sampled_from(("slo", "threshold", "static"))),
        min=low,
        max=high,
        size=draw(st.none() | st.integers(low, high)),
        down_threshold=down,
        up_threshold=down + draw(st.integers(1, 30)),
        wait_target=draw(st.floats(1, 60)),
        keep=draw(st.floats(0, 4)),
        **budgets,
    )


states = st.builds(
    PoolState,
    looked_at=st.none() | st.floats(NOW - 1000, NOW + 1000),
    fast=st.floats(0, 5),
    slow=st.floats(0, 5),
    alpha=st.floats(-0.5, 1.5),
    service_mean=st.none() | st.floats(1, 4000),
    service_recent=st.none() | st.floats(1, 4000),
    startup_p90=st.none() | st.floats(0, 300),
    capped=st.booleans(),
    scaled_at=st.none() | st.floats(NOW - 1000, NOW + 1000),
    shrinking=st.booleans(),
    failures=shares,
    errors=shares,
    errors_usual=shares,
    guarding=st.booleans(),
    canary_at=st.none() | st.floats(NOW - 1000, NOW + 1000),
    canary_wait=st.floats(0, 960),
    provider=st.none() | st.floats(1, 60),
    provider_at=st.none() | st.floats(NOW - 1000, NOW + 1000),
    start_after=st.none() | st.floats(NOW - 100, NOW + 100),
)
