"""The autoscaler's desk: how it stands, what it decided, and what a person changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.core.errors import UsageError
from ezaigent.core.scaling import PoolScaling, ScalingSettings
from ezaigent.fleet.leader import leader, recalled
from ezaigent.fleet.scaler import overrides, queries
from ezaigent.fleet.scaler.facts import Facts
from ezaigent.fleet.scaler.memory import Memory
from ezaigent.fleet.scaler.past import past
from ezaigent.fleet.scaler.pools import Catalog
from ezaigent.fleet.scaler.previewing import MOST as RUN_AGAIN
from ezaigent.fleet.scaler.previewing import Preview, preview
from ezaigent.fleet.scaler.recording import Recorded, recorded
from ezaigent.fleet.scaler.scaler import OFFICE
from ezaigent.fleet.scaler.series import Series, series
from ezaigent.fleet.scaler.snapshot import view
from ezaigent.store import Connection, Database


class LastDecision(BaseModel):
    """The last decision on a pool, whether it changed anything or not."""

    model_config = ConfigDict(frozen=True)

    at: float
    """Seconds since 1970, database time."""
    before: int
    wanted: int
    """What the policy asked for."""
    target: int
    binding: str | None
    """What kept the target from what was wanted."""
    reason: str
    dry_run: bool = False
    inner: dict[str, float | int | str | None] = {}
    """The policy's inner values."""
    inputs: dict[str, Any] = {}
    """What it was made of, by name."""


class PoolView(BaseModel):
    """One pool."""

    model_config = ConfigDict(frozen=True)

    pool: str
    policy: str
    min: int
    max: int
    dry_run: bool
    queued: int
    """Tasks that wait, those of no profile included that count as this pool's."""
    busy: int
    idle: int
    starting: int
    draining: int
    pinned: int
    """Of these, asked for by a person."""
    target: int | None
    """Agents decided last; None: nothing was decided yet."""
    last: LastDecision | None


class ScalerView(BaseModel):
    """The autoscaler at one moment."""

    model_config = ConfigDict(frozen=True)

    state: Literal["running", "stopped", "no leader"]
    leader: str | None
    fence: int | None
    """Grows with each change of leader."""
    until: float | None
    """End of the leader's lease, database time."""
    now: float
    changed: dict[str, Any]
    """Settings that were changed at run time."""
    problem: str
    """Why they do not hold, if so."""
    pools: tuple[PoolView, ...]


class ScalerControl:
    """Looks at the autoscaler of a store and steers it, from any process."""

    def __init__(
        self,
        db: Database,
        file: ScalingSettings,
        catalog: Catalog,
        *,
        alive: Callable[[], frozenset[str] | None],
    ) -> None:
        """``file`` are the settings that changes are made on top of."""
        self._db = db
        self._file = file
        self._catalog = catalog
        self._alive = alive

    async def status(self) -> ScalerView:
        """Return how it stands."""
        alive = self._alive()
        return await self._db.read(lambda conn: self._status(conn, alive))

    async def settings(self) -> overrides.InForce:
        """Return the settings in force."""
        return await self._db.read(lambda conn: overrides.in_force(conn, self._file))

    async def configure(self, changes: Mapping[str, Any], *, by: str, pool: str | None = None) -> overrides.InForce:
        """Change settings of all pools, or of one; all of ``changes`` or none, at once.

        ``None`` takes a change back. Raises ``UsageError`` with one line for each wrong value.
        """
        if pool is not None and pool not in self._catalog.pools:
            raise UsageError(f"no pool {pool!r}; there are: {', '.join(sorted(self._catalog.pools))}")
        wanted = changes if pool is None else {"pools": {pool: changes}}
        return await self._db.write(lambda conn: overrides.configure(conn, self._file, wanted, by))

    async def start(self, *, by: str) -> bool:
        """Let it go on; return whether it was stopped."""
        return await self._db.write(lambda conn: overrides.switch(conn, by, stopped=False))

    async def stop(self, *, by: str) -> bool:
        """Leave all pools as they are from now on; return whether that is new."""
        return await self._db.write(lambda conn: overrides.switch(conn, by, stopped=True))

    async def history(
        self, *, pool: str | None = None, limit: int = 50, before: int | None = None
    ) -> Sequence[dict[str, Any]]:
        """Return recorded decisions, newest first; ``before`` is the number of the last one of the page before."""
        return await self._db.read(lambda conn: queries.history(conn, pool, limit, before))

    async def recorded(self, *, pool: str | None, seconds: float) -> Recorded:
        """Return the tasks of the last ``seconds``, as a trace: of one pool, or all together."""
        return await self._db.read(lambda conn: recorded(conn, pool, seconds))

    async def series(self, *, pool: str | None, seconds: float, slices: int) -> Series:
        """Return the last ``seconds`` of one pool, or of all, in ``slices``."""
        found = await self._db.read(lambda conn: past(conn, pool, seconds, slices))
        return await asyncio.to_thread(series, found)

    async def preview(self, changes: Mapping[str, Any], *, pool: str, seconds: float) -> Preview:
        """Return what the last ``seconds`` would have been with the settings in force, and with ``changes``.

        Nothing is changed. Raises ``UsageError`` with one line for each wrong value.
        """
        if pool not in self._catalog.pools:
            raise UsageError(f"no pool {pool!r}; there are: {', '.join(sorted(self._catalog.pools))}")
        force = await self.settings()
        wanted = overrides.tried(self._file, force, {"pools": {pool: changes}})
        trace = await self._db.read(lambda conn: recorded(conn, pool, seconds, most=RUN_AGAIN))
        return await asyncio.to_thread(preview, trace, force.settings, wanted, pool)

    def _status(self, conn: Connection, alive: frozenset[str] | None) -> ScalerView:
        force = overrides.in_force(conn, self._file)
        holder = leader(conn, OFFICE)
        memory = Memory.from_text(recalled(conn, OFFICE))
        look = queries.look(conn, alive=alive, spending=False)
        seen = view(look, Facts(), {}, memory, settings=force.settings, catalog=self._catalog)
        pools: list[PoolView] = []
        for pool in seen.snapshot.pools:
            own: PoolScaling = seen.settings.pool(pool.name)
            last = memory.last.get(pool.name)
            decided = None if last is None else LastDecision.model_validate(last)
            pools.append(
                PoolView(
                    pool=pool.name,
                    policy=own.policy,
                    min=own.min,
                    max=own.max,
                    dry_run=own.dry_run,
                    queued=pool.queued,
                    busy=len(pool.busy),
                    idle=len(pool.idle),
                    starting=len(pool.starting),
                    draining=len(pool.draining),
                    pinned=pool.pinned,
                    target=None if decided is None else decided.target,
                    last=decided,
                )
            )
        return ScalerView(
            state="stopped" if force.stopped else "running" if holder else "no leader",
            leader=holder.holder if holder else None,
            fence=holder.fence if holder else None,
            until=holder.until if holder else None,
            now=look.at,
            changed=dict(force.changes),
            problem=force.problem,
            pools=tuple(pools),
        )
