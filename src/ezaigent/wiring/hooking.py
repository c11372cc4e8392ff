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
from ezaigent.wiring.services import Services

if TYPE_CHECKING:
    from ezaigent.hooks import Sender, Webhooks


def webhooks(services: Services) -> Webhooks:
    """Return the targets that events are sent to. Raises ``UsageError`` for a wrong ``[server] internal``."""
    from ezaigent.hooks import Webhooks

    return Webhooks(services.db, services.events, Inside.read(services.settings.server.internal))


@asynccontextmanager
async def sending(services: Services) -> AsyncGenerator[Sender]:
    """Send webhooks while the block runs, unless another process does; then stand by for it."""
    from ezaigent.hooks import Sender

    sender = Sender(
        services.db,
        services.events,
        f"{socket.gethostname()}-{os.getpid()}-{new_id()[-5:]}",
        Inside.read(services.settings.server.internal),
    )
    running = asyncio.create_task(sender.run(), name="webhooks")
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.wait({running})
