"""What a decision comes to: orders to seats, a record where something changed or was refused, the memory of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from ezaigent.core.scaling import ScalingSettings
from ezaigent.fleet import seats
from ezaigent.fleet.leader import Term, hold, remember
from ezaigent.fleet.scaler.memory import Memory
from ezaigent.fleet.scaler.queries import record
from ezaigent.fleet.scaling import Decision, FleetSnapshot, PolicyState, PoolDecision, PoolSnapshot
from ezaigent.store import Connection, emit

REFUSALS: Final = frozenset({"max", "size", "cooldown", "budget", "provider", "host", "errors", "starts", "stale"})
"""What keeps a pool from the number that its policy wants, against its will: worth a record."""

Decide = Callable[[FleetSnapshot, PolicyState, ScalingSettings], Decision]


def carry_out(
    conn: Connection, term: Term, snapshot: FleetSnapshot, memory: Memory, *, settings: ScalingSettings, decide: Decide
) -> tuple[Decision, Memory]:
    """Decide, order, record and remember, all in this transaction, which a holder with a stale fence cannot commit.

    What is older than three periods by now is not acted upon; then the memory stays as it was, so that the next look
    tells it again. Raises ``StaleFence``.
    """
    age = max(0.0, hold(conn, term) - snapshot.at)
    aged = replace(snapshot, pools=tuple(replace(pool, metrics_age=age) for pool in snapshot.pools))
    decision = decide(aged, memory.policy, settings)
    told, last = dict(memory.told), dict(memory.last)
    for pool, made in zip(aged.pools, decision.pools, strict=True):
        if not made.dry_run:
            _order(conn, made)
        key = _key(made)
        if (made.orders and not made.dry_run) or key not in ("", told.get(made.pool)):
            _record(conn, snapshot.at, pool, made)
        told[made.pool] = key
        last[made.pool] = {
            "at": snapshot.at,
            **_short(made),
            "reason": made.reason,
            "wanted": made.wanted,
            "inner": made.inner,
            "inputs": _inputs(pool),
        }
    if any(made.binding == "stale" for made in decision.pools):
        return decision, memory
    after = replace(memory, policy=decision.state, told=told, last=last)
    remember(conn, term, after.to_text())
    return decision, after


def _order(conn: Connection, made: PoolDecision) -> None:
    orders = made.orders
    if orders.recall:
        seats.recall(conn, orders.recall)
    if orders.start:
        seats.order(conn, made.pool, orders.start)
    if orders.retire or orders.drain:
        seats.leave(conn, [*orders.retire, *orders.drain], f"the autoscaler: {made.reason}", recallable=True)


def _key(made: PoolDecision) -> str:
    """Return what makes a decision the same as the one before; empty for one that is not worth a record."""
    if made.target == made.before and made.binding not in REFUSALS:
        return ""
    return f"{made.before}>{made.target} {made.binding} {made.policy} {made.dry_run}"


def _short(made: PoolDecision) -> dict[str, Any]:
    return {
        "policy": made.policy,
        "before": made.before,
        "target": made.target,
        "binding": made.binding,
        "dry_run": made.dry_run,
    }


def _record(conn: Connection, at: float, pool: PoolSnapshot, made: PoolDecision) -> None:
    record(conn, at, made.pool, {**made.to_json(), "inputs": _inputs(pool)})
    emit(conn, "scaler.decided", data={"pool": made.pool, **_short(made), "reason": made.reason})


def _inputs(pool: PoolSnapshot) -> Mapping[str, Any]:
    ceilings, spending = pool.ceilings, pool.spending
    return {
        "queued": pool.queued,
        "busy": len(pool.busy),
        "idle": len(pool.idle),
        "starting": len(pool.starting),
        "draining": len(pool.draining),
        "pinned": pool.pinned,
        "arrivals": pool.arrivals,
        "starts": [round(start.wait, 3) for start in pool.starts],
        "finishes": [[round(run.seconds, 3), run.failed, run.limited] for run in pool.finishes],
        "startups": [round(seconds, 3) for seconds in pool.startups],
        "failed_starts": pool.failed_starts,
        "limited_share": round(pool.limited_share, 4),
        "quota_left": None if pool.quota_left is None else round(pool.quota_left, 4),
        "metrics_age": round(pool.metrics_age, 3),
        "ceilings": {"budget": ceilings.budget, "provider": ceilings.provider, "host": ceilings.host},
        "hour_agent_seconds": round(spending.hour_agent_seconds, 1),
        "day_agent_seconds": round(spending.day_agent_seconds, 1),
        "hour_nano_usd": spending.hour_nano_usd,
        "day_nano_usd": spending.day_nano_usd,
    }
