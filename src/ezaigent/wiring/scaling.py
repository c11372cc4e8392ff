"""Run the autoscaler beside whatever else a process does: it leads, or stands by."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from ezaigent.core.ids import new_id
from ezaigent.core.settings import Settings
from ezaigent.wiring.services import Services, pools

if TYPE_CHECKING:
    from ezaigent.fleet import Catalog, Launcher, Scaler, ScalerControl
    from ezaigent.wiring.handle import Fleet

_FIRST: Final = 3.0
"""Seconds that the first agents are waited for."""


def scaled_pools(settings: Settings) -> list[str]:
    """Return the profiles whose pools the autoscaler sizes: those that have agents without it, and ``scaling.pools``.

    Raises ``UsageError`` for one that does not exist.
    """
    from ezaigent.agents import load_profiles
    from ezaigent.core.errors import UsageError

    known = load_profiles(settings)
    for name in settings.scaling.pools:
        if name not in known:
            raise UsageError(f"[scaling.pools.{name}] names no known profile; known: {', '.join(sorted(known))}")
    return list(dict.fromkeys((*pools(settings), *settings.scaling.pools)))


def catalog_of(settings: Settings, names: Sequence[str]) -> Catalog:
    """Return what the autoscaler must know of these pools."""
    from ezaigent.agents import load_profiles
    from ezaigent.fleet import Catalog

    return Catalog.of(names, load_profiles(settings), settings)


def scaler_control(services: Services) -> ScalerControl:
    """Return what looks at the autoscaler and steers it."""
    from ezaigent.fleet import ScalerControl, liveness

    settings = services.settings
    return ScalerControl(
        services.db,
        settings.scaling,
        catalog_of(settings, scaled_pools(settings)),
        alive=lambda: liveness.alive(services.locks) if services.embedded else None,
    )


@asynccontextmanager
async def scaling_beside(fleet: Fleet) -> AsyncGenerator[Scaler]:
    """Size the pools of a fleet that works in this process; the block begins when the first agents are there.

    Where the fleet has a launcher, it calls that itself, every second until it ends; of several launchers the one whose
    autoscaler leads starts workers.
    """
    from ezaigent.fleet import InlineLauncher

    names = scaled_pools(fleet.settings)
    async with scaling(fleet.services, names, InlineLauncher()) as scaler:
        fleet.launch_where(lambda: scaler.leading)
        wanted = any(fleet.settings.scaling.pool(name).min for name in names)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST if wanted and fleet.launcher is None else 0):
                while not await _manned(fleet):  # noqa: ASYNC110 - nothing tells but looking
                    await asyncio.sleep(0.02)
        yield scaler


async def _manned(fleet: Fleet) -> bool:
    assert fleet.worker is not None
    if fleet.worker.info.agents:
        return True
    return any(view.worker is not None and view.status != "offline" for view in await fleet.agents())


@asynccontextmanager
async def scaling(
    services: Services, names: Sequence[str], launcher: Launcher, *, lease: float | None = None
) -> AsyncGenerator[Scaler]:
    """Size the pools ``names`` while the block runs, unless another process leads; then stand by for it.

    ``lease`` is how many seconds after its last word a leader is replaced.
    """
    from ezaigent.fleet import SCALER_LEASE, Host, Scaler

    settings = services.settings

    async def spent() -> bool:
        today = await services.costs.day_ledger()
        return today is not None and today.limit_nusd is not None and today.spent_nusd >= today.limit_nusd

    scaler = Scaler(
        db=services.db,
        events=services.events,
        holder=f"{socket.gethostname()}-{os.getpid()}-{new_id()[-5:]}",
        file=settings.scaling,
        catalog=catalog_of(settings, names),
        launcher=launcher,
        locks=services.locks if services.embedded else None,
        host=Host(settings.home) if settings.launcher.kind in {"inline", "process"} else None,
        spent=spent if settings.costs.daily_budget_usd is not None else None,
        lease=SCALER_LEASE if lease is None else lease,
    )
    running = asyncio.create_task(scaler.run(), name="autoscaler")
    try:
        yield scaler
    finally:
        running.cancel()
        await asyncio.wait({running})
