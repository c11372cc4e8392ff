"""How runs end and what people decide: load, move, save, in the caller's transaction."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ezaigent.core.change import Change
from ezaigent.core.errors import StaleFence
from ezaigent.core.settings import QueueSettings
from ezaigent.store import Connection, NewEvent, emit_many
from ezaigent.tasks import history, holding, moves, queries
from ezaigent.tasks.models import MET, Claim, State, Task
from ezaigent.tasks.rows import MUTABLE, FullRow, TaskRow

Move: TypeAlias = Callable[[Claim, TaskRow, float], tuple[str, list[NewEvent]]]
"""Ends a run: returns its outcome and the events."""


def settle(conn: Connection, claims: Sequence[Claim], move: Move) -> tuple[list[TaskRow | StaleFence], list[TaskRow]]:
    """End runs with ``move``, which returns the run's outcome and the events.

    Returns for each claim the task, or the ``StaleFence`` of one that came too late; and the tasks that became
    claimable because their needs are met now.
    """
    now, rows = queries.load(conn, [claim.task.id for claim in claims])
    results: list[TaskRow | StaleFence] = []
    touched: list[TaskRow] = []
    events: list[NewEvent] = []
    ended: list[tuple[str, float, str, str]] = []
    changes: list[tuple[Task, Change]] = []
    for claim in claims:
        row = rows.get(claim.task.id)
        if row is None or row.fence != claim.fence or row.state != State.RUNNING:
            present, state = (row.fence, row.state) if row is not None else (None, "gone")
            results.append(queries.stale(claim.task.id, claim.fence, present, state))
            continue
        outcome, said = move(claim, row, now)
        events += said
        ended.append((claim.run_id, now, outcome, row.reason))
        touched.append(row)
        results.append(row)
        if row.state == State.REVIEW and row.change is not None:
            changes.append((claim.task, Change.model_validate_json(row.change)))
    met = [row.id for row in touched if row.state in MET]
    woken, more = wake_dependents(conn, met, now)
    freed, told = holding.free(conn, touched, now, met=met)
    history.remember(conn, changes)
    emit_many(conn, [*events, *more, *told], [queries.saving(touched), queries.ending(ended)])
    return results, [*woken, *freed]


def wake_dependents(conn: Connection, met: Sequence[str], now: float) -> tuple[list[TaskRow], list[NewEvent]]:
    """Make those tasks claimable that waited only for the ones that are just being settled."""
    waiting = queries.dependents(conn, met) if met else []
    if not waiting:
        return [], []
    ready = set(waiting) - queries.unmet(conn, waiting, met)
    if not ready:
        return [], []
    _, rows = queries.load(conn, ready)
    events: list[NewEvent] = []
    for row in rows.values():
        events += moves.ready(row, now, needs_met=True, reason="the tasks it needs are finished", obey_time=True)
    queries.save(conn, rows.values())
    return [row for row in rows.values() if row.state == State.QUEUED], events


def finish(changes: Mapping[str, Change | None]) -> Move:
    """Return the move of runs that succeeded; ``changes`` by run id."""

    def move(claim: Claim, row: TaskRow, now: float) -> tuple[str, list[NewEvent]]:
        events = moves.finish(row, now, changes[claim.run_id])
        return row.state, events

    return move


def fail(settings: QueueSettings, reason: str, *, retryable: bool, stuck: bool = False) -> Move:
    """Return the move of a run that failed; ``stuck`` says that it went in circles."""

    def move(_: Claim, row: TaskRow, now: float) -> tuple[str, list[NewEvent]]:
        again = retryable and row.attempts < (row.max_attempts or settings.max_attempts)
        events = moves.fail(row, now, reason, again_in=backoff(settings, row.attempts) if again else None)
        if row.state == State.CANCELLED:
            return "cancelled", events
        if stuck:
            action = "it is tried again" if again else "dead letter"
            return "stuck", [moves.acted(row, now, "stuck", reason, action), *events]
        return "failed", events

    return move


def stalled(conn: Connection, reason: str, rungs: Sequence[str]) -> tuple[Move, list[str]]:
    """Return the move of a run that stood still, and a list to which what was done is added.

    ``rungs`` are what is done for the first time, the second time, and so on; after the last one it is a dead letter.
    """
    done: list[str] = []

    def move(_: Claim, row: TaskRow, now: float) -> tuple[str, list[NewEvent]]:
        before = queries.stalls(conn, row.id, row.session - row.attempts)
        if row.cancel_requested or before < len(rungs):
            done.append(rungs[min(before, len(rungs) - 1)])
            said = moves.acted(row, now, "stalled", reason, done[-1])
            events = moves.release(row, now, reason)
            if row.state == State.QUEUED:
                row.reason = reason
        else:
            done.append("dead letter")
            said = moves.acted(row, now, "stalled", reason, done[-1])
            again = f"{reason}, for the {before + 1}th time" if before else reason
            events = moves.fail(row, now, f"{again}; what it did is kept, change it and retry it", again_in=None)
        return "stalled", [said, *events]

    return move, done


def backoff(settings: QueueSettings, attempts: int) -> float:
    """Return the seconds before the next attempt: full jitter over a bound that doubles each time.

    Full jitter spreads tasks that failed together (an outage) best: AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015.
    """
    bound = min(settings.backoff_cap, settings.backoff * 2.0 ** min(attempts - 1, 60))
    return random.uniform(0.0, bound)  # noqa: S311 - spreads load, keeps no secret


def decide(conn: Connection, full: FullRow, move: Callable[[TaskRow, float], list[NewEvent]]) -> FullRow:
    """Apply a person's decision to one task, which was found a moment ago; return it as it is now."""
    now, rows = queries.load(conn, [full.id])
    row = rows[full.id]
    run, was_running = row.run_id, row.state == State.RUNNING
    events = move(row, now)
    if events:
        queries.save(conn, [row])
    ended: list[tuple[str, float, str, str]] = []
    if was_running and row.state != State.RUNNING and run is not None:
        ended = [(run, now, "lost", row.reason)]
    emit_many(conn, [*events, *holding.free(conn, [row], now)[1]], [queries.ending(ended)])
    for name in MUTABLE:
        setattr(full, name, getattr(row, name))
    return full


def clear(conn: Connection, ids: Sequence[str], by: str) -> list[str]:
    """Cancel those of these tasks that no agent has begun or has now; return their ids."""
    now, rows = queries.load(conn, ids)
    unbegun = [row for row in rows.values() if row.state in (State.QUEUED, State.WAITING)]
    events = [event for row in unbegun for event in moves.cancel(row, now, by)]
    queries.save(conn, unbegun)
    emit_many(conn, events)
    return [row.id for row in unbegun]
