"""Ledgers, reservations and usage in the store: plain functions over a connection, run inside the caller's transaction.

A ledger is one limit with what counts against it: ``spent`` is billed, ``held`` are the worst cases of calls that are
under way or were lost, the latter for good. ``reserve`` raises ``held`` only while spent + held + amount stays within
the limit, under the row's lock, so however many runs draw at once, no limit is passed. ``settle`` turns a hold into the
real price.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from ezaigent.core.errors import BudgetExceeded
from ezaigent.core.ids import new_id
from ezaigent.core.money import format_usd
from ezaigent.costs.models import CallRecord, Ledger, Totals
from ezaigent.store import BulkInsert, Connection, Sql, now, tables
from ezaigent.tasks import Claim, guard


class Refusal(NamedTuple):
    """Why a call must not be made."""

    key: str
    limit_nusd: int
    spent_nusd: int
    held_nusd: int
    needed_nusd: int

    def __str__(self) -> str:
        """Return the one line that people see."""
        whose = f"the task's budget of {format_usd(self.limit_nusd)}"
        remedy = "submit it again with a larger --budget"
        if self.key.startswith("day:"):
            whose = f"the fleet's daily budget of {format_usd(self.limit_nusd)}"
            remedy = "raise costs.daily_budget_usd or wait for the next UTC day"
        held = f" and {format_usd(self.held_nusd)} held for open and lost calls" if self.held_nusd else ""
        return (
            f"the next model call may cost {format_usd(self.needed_nusd)}, which does not fit into {whose}: "
            f"{format_usd(self.spent_nusd)} spent{held}; {remedy}"
        )


_budget = Sql("SELECT budget_nusd FROM tasks WHERE id = $1")
_ledgers = Sql("SELECT key, spent_nusd, held_nusd FROM ledgers WHERE key IN [$1] ORDER BY key {for_update}")
_open_task = Sql("""
    INSERT INTO ledgers (key, limit_nusd, spent_nusd, held_nusd)
    SELECT CAST($1 AS text), CAST($2 AS bigint), COALESCE(SUM(cost_nusd), 0), 0
    FROM usage WHERE task_id = $3 ON CONFLICT (key) DO NOTHING""")
_open_day = Sql("""
    INSERT INTO ledgers (key, limit_nusd, spent_nusd, held_nusd)
    SELECT CAST($1 AS text), CAST($2 AS bigint), COALESCE(SUM(cost_nusd), 0), 0
    FROM usage WHERE at >= $3 ON CONFLICT (key) DO NOTHING""")
_hold = Sql("UPDATE ledgers SET held_nusd = held_nusd + $2, limit_nusd = $3 WHERE key = $1")
_spend = Sql("UPDATE ledgers SET spent_nusd = spent_nusd + $2 WHERE key IN [$1]")
_turn = Sql("UPDATE ledgers SET spent_nusd = spent_nusd + $2, held_nusd = held_nusd - $3 WHERE key IN [$1]")
_note = BulkInsert(tables.reservations, ("id", "task_id", "run_id", "fence", "amount_nusd", "keys", "at"))
_take = Sql("DELETE FROM reservations WHERE id = $1 RETURNING amount_nusd, keys")
_take_all = Sql("DELETE FROM reservations WHERE task_id = $1 RETURNING amount_nusd")

_TOKENS: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_FIELDS: Final = ("provider", "model", *_TOKENS, "cost_nusd", "price_date", "outcome")
_usage = BulkInsert(tables.usage, ("task_id", "run_id", "session", "step", "at", "agent", "profile", *_FIELDS))


def task_key(task_id: str) -> str:
    """Return the key of a task's ledger."""
    return f"task:{task_id}"


def day_key(at: float) -> str:
    """Return the key of the ledger of the UTC day that holds ``at`` (seconds since 1970)."""
    return f"day:{datetime.fromtimestamp(at, UTC).date().isoformat()}"


def reserve(
    conn: Connection,
    *,
    task_id: str,
    run_id: str,
    fence: int,
    amount_nusd: int,
    day_limit_nusd: int | None = None,
) -> str | None:
    """Hold ``amount_nusd`` against the task's budget and the day's limit; return the reservation's id.

    None where neither limit is set. Raises ``BudgetExceeded`` naming limit, spent and needed, with nothing held, and
    ``StaleFence`` where another run owns the task.
    """
    held = try_reserve(
        conn, task_id=task_id, run_id=run_id, fence=fence, amount_nusd=amount_nusd, day_limit_nusd=day_limit_nusd
    )
    if isinstance(held, Refusal):
        raise BudgetExceeded(str(held))
    return held


def try_reserve(
    conn: Connection,
    *,
    task_id: str,
    run_id: str,
    fence: int,
    amount_nusd: int,
    day_limit_nusd: int | None = None,
) -> str | Refusal | None:
    """Do what ``reserve`` does, but return the refusal, so that the caller can write it down in this transaction."""
    guard(conn, task_id, fence)
    at = now(conn)
    return _hold_in(conn, _limits(conn, task_id, day_limit_nusd, at), (task_id, run_id, fence), amount_nusd, at)


def reserve_outside(conn: Connection, what: str, *, amount_nusd: int, day_limit_nusd: int) -> str | Refusal | None:
    """Hold the worst case of a call that belongs to no run, against the day's limit; ``what`` stands for its task."""
    at = now(conn)
    return _hold_in(conn, {day_key(at): day_limit_nusd}, (what, what, 0), amount_nusd, at)


def _hold_in(
    conn: Connection, limits: dict[str, int], whose: tuple[str, str, int], amount_nusd: int, at: float
) -> str | Refusal | None:
    if not limits:
        return None
    known = _lock(conn, limits, whose[0], at)
    for key, limit in limits.items():
        spent, held = known[key]
        if spent + held + amount_nusd > limit:
            return Refusal(key, limit, spent, held, amount_nusd)
    for key, limit in limits.items():
        _hold.run(conn, key, amount_nusd, limit)
    reservation = new_id()
    _note(conn, [(reservation, *whose, amount_nusd, orjson.dumps([*limits]).decode(), at)])
    return reservation


def settle(conn: Connection, claim: Claim, calls: Sequence[tuple[CallRecord, str | None]], *, step: int) -> None:
    """Write the usage of ``calls``, which the journal's step ``step`` is about, and turn their holds into spending.

    Belongs into the transaction that guards the run's fence and writes the step. A call whose price stayed unknown
    (its answer was lost, or the provider did not count) leaves its hold in place: it may have been billed.
    Settling a reservation twice changes the ledger once.
    """
    task = claim.task
    _settle(conn, (task.id, claim.run_id, task.session, step), (claim.agent, claim.profile), calls)


def settle_outside(conn: Connection, what: str, profile: str, calls: Sequence[tuple[CallRecord, str | None]]) -> None:
    """Write the usage of calls that belong to no run; ``what`` stands for their task and their agent."""
    _settle(conn, (what, what, 0, 0), (what, profile), calls)


def _settle(
    conn: Connection,
    place: tuple[str, str, int, int],
    who: tuple[str, str],
    calls: Sequence[tuple[CallRecord, str | None]],
) -> None:
    if not calls:
        return
    at = now(conn)
    rows: list[tuple[Any, ...]] = []
    for record, reservation in calls:
        values = (getattr(record, field) for field in _FIELDS)
        rows.append((*place, at, *who, *values))
        if record.cost_nusd is None:
            continue
        if reservation is None:
            if record.cost_nusd:
                _spend.run(conn, [day_key(at), task_key(place[0])], record.cost_nusd)
        else:
            for amount, keys in _take.all(conn, reservation):
                _turn.run(conn, orjson.loads(keys), record.cost_nusd, amount)
    _usage(conn, rows)


def close_task(conn: Connection, task_id: str) -> int:
    """Write off the calls of a task that has ended and whose price nobody knows; return their amount in nano-USD.

    What they may have cost stays held in every ledger for good: they may be on the bill, so neither a retry of the
    task nor the day may spend it again. (A call that surely never went out was settled at 0, so nothing is held.)
    """
    return sum(int(amount) for (amount,) in _take_all.all(conn, task_id))


def ledgers(conn: Connection, keys: Sequence[str]) -> list[Ledger]:
    """Return the ledgers that exist among ``keys``."""
    return [
        Ledger(key=key, limit_nusd=limit, spent_nusd=spent, held_nusd=held)
        for key, limit, spent, held in _look.all(conn, [*keys])
    ]


_look = Sql("SELECT key, limit_nusd, spent_nusd, held_nusd FROM ledgers WHERE key IN [$1] ORDER BY key")


def _limits(conn: Connection, task_id: str, day_limit: int | None, at: float) -> dict[str, int]:
    """Return the limits in force by ledger key, in the order in which the rows are locked."""
    row = _budget.first(conn, task_id)
    limits: dict[str, int] = {}
    if day_limit is not None:
        limits[day_key(at)] = day_limit
    if row is not None and row[0] is not None:
        limits[task_key(task_id)] = int(row[0])
    return limits


def _lock(conn: Connection, limits: dict[str, int], task_id: str, at: float) -> dict[str, tuple[int, int]]:
    """Lock the ledgers, opening the missing ones with what was spent before they were needed."""
    rows = _ledgers.all(conn, [*limits])
    if len(rows) < len(limits):
        for key in limits.keys() - {row[0] for row in rows}:
            if key.startswith("task:"):
                _open_task.run(conn, key, limits[key], task_id)
            else:
                midnight = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
                _open_day.run(conn, key, limits[key], midnight.timestamp())
        rows = _ledgers.all(conn, [*limits])
    return {key: (int(spent), int(held)) for key, spent, held in rows}


_SUMS: Final = (
    "COUNT(*) AS calls, "
    + ", ".join(f"COALESCE(SUM({name}), 0) AS {name}" for name in _TOKENS)
    + ", COALESCE(SUM(cost_nusd), 0) AS cost_nusd"
    + ", COALESCE(SUM(CASE WHEN cost_nusd IS NULL THEN 1 ELSE 0 END), 0) AS unknown_calls"
)
_DAY: Final = ("strftime('%Y-%m-%d', at, 'unixepoch')", "to_char(to_timestamp(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')")
_HOUR: Final = (
    "strftime('%Y-%m-%dT%H', at, 'unixepoch')",
    """to_char(to_timestamp(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')""",
)
_WHERE: Final = "WHERE at >= $1 AND at < $2"

_answered = Sql("""
    SELECT provider || ':' || model AS name, MIN(id) AS first FROM usage
    WHERE task_id = $1 AND session = $2 AND outcome = 'ok' GROUP BY 1 ORDER BY 2""")
_of_task = Sql(f"SELECT {_SUMS} FROM usage WHERE task_id = $1")  # noqa: S608 - our own column names
_of_tasks = Sql(f"SELECT task_id AS name, {_SUMS} FROM usage WHERE task_id IN [$1] GROUP BY 1")  # noqa: S608
_of_all = Sql(f"SELECT {_SUMS} FROM usage {_WHERE}")  # noqa: S608
_grouped: Final[dict[str, Sql]] = {
    "task": Sql(f"SELECT task_id AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1"),  # noqa: S608
    "agent": Sql(f"SELECT agent AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1"),  # noqa: S608
    "profile": Sql(f"SELECT profile AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1"),  # noqa: S608
    "model": Sql(f"SELECT provider || ':' || model AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1"),  # noqa: S608
    "repo": Sql(
        f"SELECT COALESCE(tasks.project, usage.task_id) AS name, {_SUMS} FROM usage "  # noqa: S608
        "LEFT JOIN tasks ON tasks.id = usage.task_id "
        f"{_WHERE} GROUP BY 1 ORDER BY 1"
    ),
    "hour": Sql(
        sqlite=f"SELECT {_HOUR[0]} AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1",  # noqa: S608
        postgresql=f"SELECT {_HOUR[1]} AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1",  # noqa: S608
    ),
    "day": Sql(
        sqlite=f"SELECT {_DAY[0]} AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1",  # noqa: S608
        postgresql=f"SELECT {_DAY[1]} AS name, {_SUMS} FROM usage {_WHERE} GROUP BY 1 ORDER BY 1",  # noqa: S608
    ),
}


def models_of_session(conn: Connection, task_id: str, session: int) -> list[str]:
    """Return the models (``provider:model``) that answered in one session of a task, in the order of first use."""
    return [name for name, _ in _answered.all(conn, task_id, session)]


def totals_of_task(conn: Connection, task_id: str) -> Totals:
    """Return what a task's model calls used and cost, over all its runs."""
    row = _of_task.first(conn, task_id)
    assert row is not None
    return _totals(row)


def totals_of_tasks(conn: Connection, task_ids: Sequence[str]) -> dict[str, Totals]:
    """Return the same for several tasks at once, by id; a task without a call has empty totals."""
    found = {row[0]: _totals(row[1:]) for row in _of_tasks.all(conn, [*task_ids])}
    return {task_id: found.get(task_id, Totals()) for task_id in task_ids}


def totals_of_all(conn: Connection, since: float, until: float) -> Totals:
    """Return the sums over the calls from ``since`` up to, not including, ``until`` (seconds since 1970)."""
    row = _of_all.first(conn, since, until)
    assert row is not None
    return _totals(row)


def totals_by(conn: Connection, what: str, since: float, until: float) -> dict[str, Totals]:
    """Return the sums by ``task``, ``repo``, ``agent``, ``profile``, ``model``, ``day`` or ``hour`` (UTC, ISO)."""
    return {row[0]: _totals(row[1:]) for row in _grouped[what].all(conn, since, until)}


def _totals(row: Sequence[Any]) -> Totals:
    return Totals.model_validate({name: int(value) for name, value in zip(Totals.model_fields, row, strict=True)})
