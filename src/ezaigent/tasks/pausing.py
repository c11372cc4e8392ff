"""Pauses: what a person said last about all agents, a pool or one agent; the most particular word holds.

A paused agent takes no task and makes no further step, whenever it starts. ``pause`` and ``resume`` of something wider
take back what was said about its parts; resuming one agent of a paused pool is an exception from that pause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from ezaigent.core.errors import UsageError
from ezaigent.store import Connection, Sql, emit

EVERYONE: Final = "*"
"""The target that means all agents."""

_lock = Sql(sqlite="SELECT 1", postgresql="LOCK TABLE pauses IN SHARE ROW EXCLUSIVE MODE")
_all = Sql("SELECT target, paused FROM pauses")
_say = Sql(
    """INSERT INTO pauses (target, paused, "by", at) VALUES ($1, $2, $3, {now})
    ON CONFLICT (target) DO UPDATE SET paused = excluded.paused, "by" = excluded."by", at = excluded.at"""
)
_take_back = Sql("DELETE FROM pauses WHERE target IN [$1]")


def _pool(agent: str) -> str:
    return agent.rpartition("-")[0]


def _is_agent(target: str) -> bool:
    return target.rpartition("-")[2].isdecimal()


@dataclass(frozen=True, slots=True)
class Pauses:
    """Who is held, as it follows from what was said; ``agent in pauses`` asks for one agent."""

    said: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """By target (``*``, a pool, an agent): whether it is paused, or excepted from a wider pause."""

    @classmethod
    def of(cls, rows: Iterable[tuple[str, bool]]) -> Self:
        """Return the pauses that these rows mean."""
        return cls({target: bool(paused) for target, paused in rows})

    def word(self, agent: str) -> str | None:
        """Return the target whose word holds for the agent; None where nothing was said."""
        return next((target for target in (agent, _pool(agent), EVERYONE) if target in self.said), None)

    def __contains__(self, agent: object) -> bool:
        word = self.word(str(agent))
        return word is not None and self.said[word]

    def named(self) -> set[str]:
        """Return the agents that are paused by their own name."""
        return {target for target, paused in self.said.items() if paused and _is_agent(target)}

    def paused(self, target: str) -> Pauses:
        """Return what holds once ``target`` is paused."""
        return Pauses({**self._beyond(target), target: True})

    def resumed(self, target: str) -> Pauses:
        """Return what holds once ``target`` goes on: an exception where something wider is paused."""
        rest = Pauses(self._beyond(target))
        return Pauses({**rest.said, target: False}) if target in rest else rest

    def _beyond(self, target: str) -> dict[str, bool]:
        """Return what was said of anything that is not ``target`` or a part of it."""
        if target == EVERYONE:
            return {}
        return {name: paused for name, paused in self.said.items() if target not in (name, _pool(name))}


def pauses(conn: Connection) -> Pauses:
    """Return who is held."""
    return Pauses.of((target, paused) for target, paused in _all.all(conn))


def pause(conn: Connection, target: str, by: str) -> bool:
    """Hold all agents (``*``), a pool or one agent; return whether anything changed by it."""
    return _change(conn, target, by, paused=True)


def resume(conn: Connection, target: str, by: str) -> bool:
    """Let all agents, a pool or one agent go on; return whether anything changed by it."""
    return _change(conn, target, by, paused=False)


def _change(conn: Connection, target: str, by: str, *, paused: bool) -> bool:
    if not target:
        raise UsageError("nobody is named; name an agent, a pool, or all")
    if conn.dialect.name != "sqlite":  # two people who speak at the same time are heard one after the other
        _lock.run(conn)
    before = pauses(conn)
    after = before.paused(target) if paused else before.resumed(target)
    if after == before:
        return False
    _take_back.run(conn, sorted(before.said.keys() - after.said.keys()))
    if target in after.said:
        _say.run(conn, target, after.said[target], by)
    agent = target if _is_agent(target) else None
    kind = "agent.paused" if paused else "agent.resumed"
    emit(conn, kind, agent=agent, data={"target": target, "by": by})
    return True
