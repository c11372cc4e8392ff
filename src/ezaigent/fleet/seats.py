"""Seats: one row for each agent that shall exist. Workers adopt seats; whoever sizes the fleet orders and ends them.

Status is derived: a seat without a worker waits for one, without ``ready_at`` it starts, with ``leaving`` it takes no
further task, and it is gone once its worker says so. Each change and its event are one transaction.
"""

# ruff: noqa: S608 - what is put into the texts are the names of our own columns

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ezaigent.store import Connection, NewEvent, Sql, emit_many

_COLUMNS: Final = "agent, profile, worker, pinned, ordered_at, ready_at, leaving, leaving_at, recallable"
_NEW: Final = "agent, profile, worker, pinned, ordered_at, recallable"

DRAINED: Final = "drained by "
"""How the reason begins for which an agent leaves on a person's word."""
_ANY: Final = 1_000_000

_all = Sql(f"SELECT {_COLUMNS} FROM seats ORDER BY profile, agent")
_workers = Sql("SELECT id, info FROM workers")
_names = Sql("SELECT agent FROM seats WHERE profile = $1")
_insert = Sql(
    sqlite=f"""INSERT INTO seats ({_NEW}) SELECT value, $2, $3, $4, {{now}}, false FROM json_each($1) WHERE true
    ON CONFLICT (agent) DO NOTHING RETURNING agent""",
    postgresql=f"""INSERT INTO seats ({_NEW})
    SELECT name, $2, $3, $4, {{now}}, false FROM unnest(CAST($1 AS text[])) AS given(name)
    ON CONFLICT (agent) DO NOTHING RETURNING agent""",
)
_free = Sql(
    """SELECT agent FROM seats WHERE worker IS NULL AND leaving IS NULL AND profile IN [$1]
    ORDER BY ordered_at, agent LIMIT CAST($2 AS bigint) {skip_locked}"""
)
_adopt = Sql(
    f"""UPDATE seats SET worker = $1, ready_at = NULL WHERE agent IN [$2] AND worker IS NULL AND leaving IS NULL
    RETURNING {_COLUMNS}"""
)
_ready = Sql(
    """UPDATE seats SET ready_at = {now} WHERE worker = $1 AND agent IN [$2] AND ready_at IS NULL
    RETURNING agent, profile, ready_at - ordered_at"""
)
_leave = Sql(
    """UPDATE seats SET leaving = $2, leaving_at = {now}, recallable = $3
    WHERE agent IN [$1] AND (leaving IS NULL OR (recallable AND NOT $3)) RETURNING agent, profile, worker"""
)
_recall = Sql(
    """UPDATE seats SET leaving = NULL, leaving_at = NULL, recallable = false
    WHERE agent IN [$1] AND leaving IS NOT NULL AND recallable RETURNING agent, profile"""
)
_delete = Sql("DELETE FROM seats WHERE agent IN [$1] RETURNING agent, profile, worker, leaving")
_delete_leaving = Sql(
    """DELETE FROM seats WHERE agent IN [$1] AND worker = $2 AND leaving IS NOT NULL
    RETURNING agent, profile, worker, leaving"""
)
_delete_hosted = Sql("DELETE FROM seats WHERE agent IN [$1] AND worker = $2 RETURNING agent, profile, worker, leaving")
_unhost = Sql(
    """UPDATE seats SET worker = NULL, ready_at = NULL, ordered_at = {now} WHERE agent IN [$1] AND worker = $2
    RETURNING agent, profile"""
)
_hosted = Sql(f"SELECT {_COLUMNS} FROM seats WHERE worker = $1 ORDER BY agent")
_orphaned = Sql(
    f"""SELECT {_COLUMNS} FROM seats WHERE worker IS NOT NULL AND NOT (worker IN [$1])
    ORDER BY agent {{for_update}}"""
)


@dataclass(frozen=True, slots=True)
class Seat:
    """One agent that shall exist."""

    agent: str
    """Its name, stable as long as the seat exists: ``claude-1``."""
    profile: str
    worker: str | None
    """Who hosts it; None: nobody yet."""
    pinned: bool
    """Asked for by a person with a number: the autoscaler counts it and leaves it alone."""
    ordered_at: float
    """Since when it is wanted where it is, seconds since 1970, database time."""
    ready_at: float | None
    """Since when it can claim; None: it starts."""
    leaving: str | None
    """Why it takes no further task; None: it stays."""
    leaving_at: float | None
    recallable: bool
    """Whether the autoscaler may take it back while it leaves."""


def _seat(row: Sequence[Any]) -> Seat:
    agent, profile, worker, pinned, ordered_at, ready_at, leaving, leaving_at, recallable = row
    return Seat(agent, profile, worker, bool(pinned), ordered_at, ready_at, leaving, leaving_at, bool(recallable))


def _sorted(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return rows by their agent's name: what an UPDATE returns has no order."""
    return sorted(rows, key=lambda row: _order(row[0]))


# ------------------------------------------------------------------------------------------ whoever sizes the fleet


def order(conn: Connection, profile: str, count: int, *, pinned: bool = False, worker: str | None = None) -> list[str]:
    """Make ``count`` seats with the profile's lowest free numbers and return their names.

    Two who order at the same time never get the same name. With ``worker`` the seats are that worker's at once.
    """
    made: list[str] = []
    while len(made) < count:  # a name that another transaction took meanwhile is seen as taken in the next round
        taken = {row[0] for row in _names.all(conn, profile)}
        wanted = _lowest(profile, taken, count - len(made))
        made += [row[0] for row in _insert.all(conn, wanted, profile, worker, pinned)]
    made.sort(key=number_of)
    data = {"profile": profile, "pinned": pinned}
    emit_many(conn, [NewEvent("agent.ordered", agent=name, data=data) for name in made])
    return made


def leave(conn: Connection, agents: Collection[str], reason: str, *, recallable: bool) -> list[str]:
    """Let agents take no further task and go when they have none; return those for which that is new.

    A seat that nobody hosts is gone at once. What the autoscaler ordered to leave may be ordered once more by a
    person (``recallable=False``), and then for good.
    """
    changed = _sorted(_leave.all(conn, list(agents), reason, recallable))
    data = {"reason": reason, "recallable": recallable}
    emit_many(conn, [NewEvent("agent.leaving", agent=row[0], data={"profile": row[1], **data}) for row in changed])
    if unhosted := [row[0] for row in changed if row[2] is None]:
        _tell_left(conn, _delete.all(conn, unhosted), reason)
    return [row[0] for row in changed]


def recall(conn: Connection, agents: Collection[str]) -> list[str]:
    """Take back agents that leave, where that is allowed; return their names."""
    back = _sorted(_recall.all(conn, list(agents)))
    emit_many(conn, [NewEvent("agent.recalled", agent=row[0], data={"profile": row[1]}) for row in back])
    return [row[0] for row in back]


def all_seats(conn: Connection, *, exclusive: bool = False) -> list[Seat]:
    """Return every seat; those of workers that take only tasks of their own only with ``exclusive``."""
    seats = [_seat(row) for row in _sorted(_all.all(conn))]
    if exclusive:
        return seats
    theirs = {worker for worker, info in _workers.all(conn) if orjson.loads(info).get("exclusive")}
    return [seat for seat in seats if seat.worker not in theirs]


# ------------------------------------------------------------------------------------------ workers


def adopt(conn: Connection, worker: str, profiles: Collection[str], room: int | None) -> list[Seat]:
    """Give ``worker`` up to ``room`` (None: any number) of the seats that nobody hosts, oldest order first."""
    if not profiles or (room is not None and room <= 0):
        return []
    free = [row[0] for row in _free.all(conn, list(profiles), _ANY if room is None else room)]
    return [_seat(row) for row in _sorted(_adopt.all(conn, worker, free))] if free else []


def ready(conn: Connection, worker: str, agents: Collection[str]) -> None:
    """Note that these agents of ``worker`` can claim: from now on they count."""
    emit_many(
        conn,
        [
            NewEvent("agent.ready", agent=agent, data={"profile": profile, "worker": worker, "seconds": seconds})
            for agent, profile, seconds in _sorted(_ready.all(conn, worker, list(agents)))
        ],
    )


def left(conn: Connection, worker: str, agents: Collection[str]) -> list[str]:
    """End those of these seats of ``worker`` that are still to leave, and return their names."""
    gone = _delete_leaving.all(conn, list(agents), worker)
    _tell_left(conn, gone, "")
    return sorted((row[0] for row in gone), key=_order)


def release(conn: Connection, worker: str, agents: Collection[str], reason: str) -> None:
    """Let ``worker`` host these agents no more: a pinned or leaving one is gone, another waits for a worker."""
    _give_up(conn, [seat for seat in hosted(conn, worker) if seat.agent in agents], reason)


def hosted(conn: Connection, worker: str) -> list[Seat]:
    """Return the seats of ``worker``."""
    return [_seat(row) for row in _sorted(_hosted.all(conn, worker))]


def orphans(conn: Connection, alive: Collection[str], reason: str = "its worker is gone") -> list[Seat]:
    """Take the seats away from workers that are not ``alive``, and return what they were.

    Pinned and leaving ones are gone with their worker; the others wait for another one.
    """
    found = [_seat(row) for row in _sorted(_orphaned.all(conn, list(alive)))]
    _give_up(conn, found, reason)
    return found


def _give_up(conn: Connection, seats: Iterable[Seat], reason: str) -> None:
    by_worker: dict[str, list[Seat]] = {}
    for seat in seats:
        if seat.worker is not None:
            by_worker.setdefault(seat.worker, []).append(seat)
    for worker, its in by_worker.items():
        gone = [seat.agent for seat in its if seat.pinned or seat.leaving is not None]
        kept = [seat.agent for seat in its if seat.agent not in set(gone)]
        _tell_left(conn, _delete_hosted.all(conn, gone, worker) if gone else (), reason)
        data = {"worker": worker, "reason": reason}
        emit_many(
            conn,
            [
                NewEvent("agent.unhosted", agent=agent, data={"profile": profile, **data})
                for agent, profile in (_sorted(_unhost.all(conn, kept, worker)) if kept else ())
            ],
        )


def _tell_left(conn: Connection, rows: Sequence[Sequence[Any]], reason: str) -> None:
    emit_many(
        conn,
        [
            NewEvent(
                "agent.left",
                agent=agent,
                data={"profile": profile, "worker": worker, "reason": leaving or reason or "its worker stops"},
            )
            for agent, profile, worker, leaving in _sorted(rows)
        ],
    )


# ------------------------------------------------------------------------------------------ names


def number_of(agent: str) -> int:
    """Return the number that an agent's name ends with; 0 for a name without one."""
    tail = agent.rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0


def _order(agent: str) -> tuple[str, int]:
    return agent.rpartition("-")[0], number_of(agent)


def _lowest(profile: str, taken: Collection[str], count: int) -> list[str]:
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        if (name := f"{profile}-{number}") not in taken:
            names.append(name)
    return names
