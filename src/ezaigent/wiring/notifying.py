"""Notifications over a fleet: who has them, and who sends them."""

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
    from ezaigent.push import Notifications, Sender


def notifications(services: Services) -> Notifications:
    """Return the browsers that are notified. Raises ``UsageError`` for a wrong ``[server] internal``."""
    from ezaigent.push import Notifications

    server = services.settings.server
    return Notifications(services.db, Inside.read(server.internal), server.push_contact)


@asynccontextmanager
async def notifying(services: Services) -> AsyncGenerator[Sender]:
    """Send notifications while the block runs, unless another process does; then stand by for it."""
    from ezaigent.push import Sender

    server = services.settings.server
    sender = Sender(
        services.db,
        services.events,
        f"{socket.gethostname()}-{os.getpid()}-{new_id()[-5:]}",
        Inside.read(server.internal),
        contact=server.push_contact,
    )
    running = asyncio.create_task(sender.run(), name="notifications")
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.wait({running})
