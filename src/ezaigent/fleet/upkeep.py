"""What a worker does beside its runs: clean up after ended tasks, so that disk use stays bounded."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ezaigent.core.errors import EzAigentError
from ezaigent.fleet import queries
from ezaigent.store import Database
from ezaigent.workspaces import Workspaces

log = structlog.get_logger(__name__)

PERIOD: Final = 3600.0
"""Seconds between two rounds."""


async def clean_forever(db: Database, workspaces: Workspaces) -> None:
    """Remove worktrees and hidden refs of ended tasks by age and count, now and every hour."""
    while True:
        try:
            await workspaces.clean(await db.read(queries.ended))
        except EzAigentError as error:
            log.warning("cleaning up failed; it is tried again in an hour", reason=str(error))
        await asyncio.sleep(PERIOD)
