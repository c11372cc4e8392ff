"""Parked agents: their worker says that none of their models is to be asked before some time, so they take no task."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from ezaigent.store import Connection, Sql

_workers = Sql("SELECT info FROM workers WHERE seen_at > {now} - CAST($1 AS double precision)")


@dataclass(frozen=True, slots=True)
class ParkedAgent:
    """Why an agent takes no task, as its worker announces it."""

    reason: str
    until: float | None
    """When one agent finds out whether a model answers again, seconds since 1970; None: one does now."""


def parked(conn: Connection, fresh: float) -> dict[str, ParkedAgent]:
    """Return the parked agents of workers heard of within ``fresh`` seconds, by name."""
    found: dict[str, ParkedAgent] = {}
    for (text,) in _workers.all(conn, fresh):
        info = orjson.loads(text)
        pools = {name: ParkedAgent(one["reason"], one["until"]) for name, one in info.get("parked", {}).items()}
        for agent in info.get("agents", ()):
            if (why := pools.get(agent.rpartition("-")[0])) is not None:
                found[agent] = why
    return found
