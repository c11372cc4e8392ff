"""The runs of a task, one after the other: who had it, for how long, and how each ended."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ezaigent.store import Connection, Sql

_runs = Sql(
    """SELECT id, session, fence, agent, profile, worker, started_at, ended_at, outcome, reason,
        (SELECT count(*) FROM journal j WHERE j.task_id = r.task_id AND j.session = r.session AND j.fence = r.fence)
    FROM runs r WHERE id > $1 AND id < $2 ORDER BY fence"""
)


class Run(BaseModel):
    """One run of a task: resuming an attempt is a run of its own."""

    model_config = ConfigDict(frozen=True)

    id: str
    session: int
    """Number of the journal: an attempt that failed is followed by one with a new journal."""
    fence: int
    agent: str
    profile: str
    worker: str
    started_at: float
    """Seconds since 1970."""
    ended_at: float | None
    """None while it runs."""
    outcome: str | None
    """``review``, ``done``, ``failed``, ``stalled``, ``released``, ``blocked``, ``cancelled``, ``lost``, ``poison``."""
    reason: str
    steps: int
    """Steps that it added to the journal."""


def runs(conn: Connection, task_id: str) -> list[Run]:
    """Return the task's runs, oldest first."""
    names = tuple(Run.model_fields)
    # The ids of a task's runs are a range: <task>-<fence>, and "." follows "-".
    return [Run(**dict(zip(names, row, strict=True))) for row in _runs.all(conn, f"{task_id}-", f"{task_id}.")]
