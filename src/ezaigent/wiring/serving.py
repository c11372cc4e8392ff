"""The HTTP API over a fleet: hands the services to the room that serves them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ezaigent import __version__
from ezaigent.tasks import NewTask, Task
from ezaigent.wiring.handle import Fleet, TaskHandle
from ezaigent.wiring.scaling import scaler_control

if TYPE_CHECKING:
    from ezaigent.api import Accounts, Backstage, Server


@asynccontextmanager
async def serve_api(fleet: Fleet, *, host: str | None = None, port: int | None = None) -> AsyncGenerator[Server]:
    """Serve the fleet over HTTP while the block runs; address and port come from the settings where left out.

    Raises ``UnavailableError`` when the port is taken, ``UsageError`` for an address that others can reach while
    nobody has a credential.
    """
    from ezaigent.api import serving

    wanted = fleet.settings.server
    async with serving(
        backstage(fleet), host=wanted.host if host is None else host, port=wanted.port if port is None else port
    ) as server:
        yield server


def accounts(fleet: Fleet) -> Accounts:
    """Return the users and tokens of the fleet."""
    from ezaigent.api import Accounts

    return Accounts(fleet.services.db)


def backstage(fleet: Fleet) -> Backstage:
    """Return what the API works with."""
    from ezaigent.api import Backstage
    from ezaigent.wiring.admission import admit
    from ezaigent.wiring.conversing import open_chat

    async def admitted(new: NewTask) -> NewTask:
        return await admit(new, fleet.settings)

    async def diff(task_id: str) -> str:
        return await (await fleet.task(task_id)).diff()

    async def merge(task_id: str, *, by: str) -> Task:
        return await TaskHandle(fleet, task_id).merge(by=by)

    services = fleet.services
    return Backstage(
        version=__version__,
        settings=fleet.settings,
        db=services.db,
        events=services.events,
        queue=services.queue,
        costs=services.costs,
        roster=services.roster,
        admit=admitted,
        diff=diff,
        merge=merge,
        steer=fleet.steer,
        tell=fleet.message,
        drain=fleet.drain,
        chat=open_chat(services),
        scaler=lambda: scaler_control(services),
    )
