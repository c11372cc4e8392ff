"""What a worker does beside its runs: clean up after ended tasks, so that disk use stays bounded."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ezaigent.core.errors import EzAigentError
from ezaigent.costs import close_task
from ezaigent.fleet import queries
from ezaigent.store import Database
from ezaigent.workspaces import Workspaces

log = structlog.get_logger(__name__)

PERIOD: Final = 3600.0
"""Seconds between two rounds."""


async def clean_forever(db: Database, workspaces: Workspaces) -> None:
    """Remove worktrees and hidden refs of ended tasks by age and count, and write off their lost calls.

    Now and every hour. The lost calls of a task are written off by its last run, unless that died or was never begun.
    """
    while True:
        try:
            await _close_ended(db)
            await workspaces.clean(await db.read(queries.ended))
        except EzAigentError as error:
            log.warning("cleaning up failed; it is tried again in an hour", reason=str(error))
        except Exception:
            log.exception("cleaning up broke; it is tried again in an hour")
        await asyncio.sleep(PERIOD)


async def _close_ended(db: Database) -> None:
    for task in await db.read(queries.ended_with_reservations):
        await db.write(lambda conn, task=task: close_task(conn, task))
