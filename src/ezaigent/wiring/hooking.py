"""Webhooks over a fleet: who manages them, and who sends."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ezaigent.core.ids import new_id
from ezaigent.core.outside import Inside
from ezaigent.wiring.services import Services, open_workspaces

if TYPE_CHECKING:
    from ezaigent.hooks import Clerk, Intake, Sender, Webhooks
    from ezaigent.tasks import NewTask, Task


def webhooks(services: Services) -> Webhooks:
    """Return the targets that events are sent to. Raises ``UsageError`` for a wrong ``[server] internal``."""
    from ezaigent.hooks import Webhooks

    return Webhooks(services.db, services.events, Inside.read(services.settings.server.internal))


def intake(services: Services) -> Intake:
    """Return the door for what code hosts send."""
    from ezaigent.hooks import Intake

    return Intake(services.db, services.settings.github)


def clerk(services: Services) -> Clerk:
    """Return what makes tasks of issues, and tells the issues what became of them."""
    from ezaigent.hooks import Clerk
    from ezaigent.wiring.admission import admit

    settings = services.settings

    async def submit(new: NewTask, *, by: str) -> Task:
        return (await services.queue.submit_many([await admit(new, settings, services.db)], by=by))[0]

    async def push(task: Task, remote: str, *, token: str | None) -> None:
        assert task.change is not None
        workspaces = await open_workspaces(services, confined=False)
        await workspaces.send(task.id, task.repo, task.change, remote, token=token)

    return Clerk(services.db, services.queue, settings.github, submit=submit, push=push)


@asynccontextmanager
async def sending(services: Services) -> AsyncGenerator[Sender]:
    """Send webhooks and work off issues while the block runs, unless another process does; then stand by for it."""
    from ezaigent.hooks import Sender

    sender = Sender(
        services.db,
        services.events,
        f"{socket.gethostname()}-{os.getpid()}-{new_id()[-5:]}",
        Inside.read(services.settings.server.internal),
        duties=[clerk(services)],
    )
    running = asyncio.create_task(sender.run(), name="webhooks")
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.wait({running})
