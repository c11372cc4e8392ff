"""The autoscaler's decision: one pure function for production, replay and simulation."""

from __future__ import annotations

from dataclasses import replace

from ezaigent.core.scaling import PoolScaling, ScalingSettings
from ezaigent.fleet.scaling.guards import Limit, guard, probed, stale
from ezaigent.fleet.scaling.learning import learn
from ezaigent.fleet.scaling.models import (
    NOTHING,
    Decision,
    FleetSnapshot,
    PolicyState,
    PoolDecision,
    PoolSnapshot,
    PoolState,
)
from ezaigent.fleet.scaling.policies import POLICIES, Plan
from ezaigent.fleet.scaling.settle import Settled, orders, settle


def decide(snapshot: FleetSnapshot, state: PolicyState, config: ScalingSettings) -> Decision:
    """Return what to do about each pool in ``snapshot``, and what to remember.

    No clock, no I/O, no randomness: the same arguments give the same decision. Pools that are remembered but not in
    the snapshot are remembered on.
    """
    pools = dict(state.pools)
    made: list[PoolDecision] = []
    for pool in snapshot.pools:
        decision, pools[pool.name] = _decide(pool, pools.get(pool.name, PoolState()), config, snapshot.at)
        made.append(decision)
    return Decision(snapshot.at, tuple(made), PolicyState(pools))


def _decide(pool: PoolSnapshot, state: PoolState, config: ScalingSettings, at: float) -> tuple[PoolDecision, PoolState]:
    own = config.pool(pool.name)
    if stale(pool, config.period):
        return _held(pool, own, config.period), state
    state = learn(pool, state, at)
    limits, state = guard(pool, state, own, at)
    plan = POLICIES[own.policy](pool, state, own, at)
    if plan.cut:
        limits.append(Limit("size", plan.wanted, f"size = {plan.wanted}", forced=True, above_min=True))
    settled = settle(plan.wanted, pool, own.min, limits)
    decision = PoolDecision(
        pool=pool.name,
        policy=own.policy,
        before=pool.size,
        wanted=plan.wanted,
        target=settled.target,
        orders=orders(pool, settled.target),
        binding=settled.binding.name if settled.binding else plan.binding,
        reason=_reason(plan, settled, pool.size),
        inner=plan.inner,
        dry_run=own.dry_run,
    )
    return decision, _remembered(plan, settled, pool.size, at)


def _remembered(plan: Plan, settled: Settled, before: int, at: float) -> PoolState:
    state = probed(plan.state, at, grew=settled.target > before)
    capped = settled.target >= settled.ceiling
    by_policy = (settled.target - before) * (plan.wanted - before) > 0
    return replace(
        state,
        target=settled.target,
        capped=capped,
        capped_at=at if capped else state.capped_at,
        scaled_at=at if by_policy and not plan.continued else state.scaled_at,
    )


def _held(pool: PoolSnapshot, own: PoolScaling, period: float) -> PoolDecision:
    """Return the decision to leave everything as it is: acting on old metrics, in either direction, does harm."""
    age, size = pool.metrics_age, pool.size
    reason = f"the metrics are {age:.0f} s old, more than 3 periods of {period:g} s: {_stays(size)}"
    return PoolDecision(pool.name, own.policy, size, size, size, NOTHING, "stale", reason, {}, own.dry_run)


def _reason(plan: Plan, settled: Settled, before: int) -> str:
    target = settled.target
    action = _stays(target) if target == before else f"from {before} to {_agents(target)}"
    held = f", held by {settled.binding.text}" if settled.binding else ""
    return f"{plan.cause}: {action}{held}"


def _stays(size: int) -> str:
    return f"{_agents(size)} {'stays' if size == 1 else 'stay'}"


def _agents(count: int) -> str:
    return "1 agent" if count == 1 else f"{count} agents"
