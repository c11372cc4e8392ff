"""A discrete-event simulation of one pool that runs the production decision: for replay, tests and benchmarks.

Agents take one task at a time, first come first served. An agent costs from the order to start it until it is gone;
work goes to the agent that has been idle for the shortest time. What happens at the same instant is one look.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ezaigent.core.scaling import ScalingSettings
from ezaigent.fleet.scaling.decide import decide
from ezaigent.fleet.scaling.models import FleetSnapshot, Orders, PolicyState, PoolDecision, PoolSnapshot
from ezaigent.fleet.scaling.outcome import Outcome
from ezaigent.fleet.scaling.world import Controller, World


@dataclass
class Production:
    """The product's own decision as a controller."""

    config: ScalingSettings
    watch: Callable[[float, PoolDecision], None] | None = None
    """Told every decision."""
    state: PolicyState = field(default_factory=PolicyState)
    eager: bool = True
    """Needless for ``static``, whose decision no task changes."""

    @property
    def period(self) -> float:
        """The configured one."""
        return self.config.period

    def look(self, at: float, pool: PoolSnapshot, load: float) -> Orders:
        """Decide."""
        del load
        decision = decide(FleetSnapshot(at, (pool,)), self.state, self.config)
        self.state = decision.state
        if self.watch:
            self.watch(at, decision.pools[0])
        return decision.pools[0].orders


def lognormal(median: float, p95: float, longest: float, seed: int) -> Callable[[], float]:
    """Return a sampler of service times in seconds with this median and 95th percentile, clipped at ``longest``."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    mu, sigma = math.log(median), math.log(p95 / median) / 1.6448536269514722
    return lambda: min(rng.lognormvariate(mu, sigma), longest)


def replay(
    arrivals: Sequence[float],
    services: Sequence[float] | Callable[[], float],
    startup: float,
    config: ScalingSettings,
    *,
    pool: str = "replay",
    until: float | None = None,
    watch: Callable[[float, PoolDecision], None] | None = None,
) -> Outcome:
    """Run the configured policy over a trace; see ``simulate``."""
    own = config.pool(pool)
    first = own.min if own.size is None or own.policy != "static" else own.size
    return simulate(
        arrivals,
        services,
        startup,
        Production(config, watch, eager=own.policy != "static" or watch is not None),
        name=pool,
        first=first,
        wait_target=own.wait_target,
        until=until,
    )


def simulate(
    arrivals: Sequence[float],
    services: Sequence[float] | Callable[[], float],
    startup: float,
    controller: Controller,
    *,
    name: str = "replay",
    first: int = 1,
    wait_target: float = 15.0,
    until: float | None = None,
) -> Outcome:
    """Return what ``controller`` makes of the tasks that arrive at ``arrivals`` (ascending seconds, 0 or more).

    ``services`` are the seconds of each task, in order of arrival, or a sampler; ``startup`` the seconds of a start;
    ``first`` the agents that are ready at 0. Hours are counted from 0 to ``until``, by default until all is done.
    """
    times = list(arrivals)
    length = [services() for _ in times] if callable(services) else list(services)
    if len(length) != len(times):
        raise ValueError(f"{len(times)} arrivals need as many service times, not {len(length)}")
    world = World(times, length, startup, controller, name=name, until=until)
    world.open(first)
    world.run()
    return world.outcome(wait_target)
