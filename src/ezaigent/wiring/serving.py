"""The HTTP API over a fleet: hands the services to the room that serves them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ezaigent import __version__
from ezaigent.tasks import NewTask, Task
from ezaigent.wiring.handle import Fleet, TaskHandle
from ezaigent.wiring.hooking import intake, webhooks
from ezaigent.wiring.notifying import notifications
from ezaigent.wiring.planning import draft, submit_plan
from ezaigent.wiring.scaling import scaler_control

if TYPE_CHECKING:
    from ezaigent.api import Accounts, Backstage, Server
    from ezaigent.chat import Draft, Plan


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


async def serve_tools(fleet: Fleet, *, by: str, place: Callable[[str], str]) -> None:
    """Serve the fleet's tools on standard input and output until the client, or the fleet's own worker, ends.

    ``by`` is who runs the command; ``place`` makes a repository's path absolute.
    """
    from ezaigent.api import serve_stdio

    await fleet.unless_broken(serve_stdio(backstage(fleet), by=by, place=place))


def accounts(fleet: Fleet) -> Accounts:
    """Return the users and tokens of the fleet."""
    from ezaigent.api import Accounts

    return Accounts(fleet.services.db)


def backstage(fleet: Fleet) -> Backstage:
    """Return what the API works with."""
    from ezaigent.api import Backstage
    from ezaigent.wiring.admission import admit
    from ezaigent.wiring.alone import somebody_works
    from ezaigent.wiring.conversing import ServicesDoor, open_chat

    async def admitted(new: NewTask) -> NewTask:
        return await admit(new, fleet.settings, fleet.services.db)

    async def diff(task_id: str) -> str:
        return await (await fleet.task(task_id)).diff()

    async def merge(task_id: str, *, by: str) -> Task:
        return await TaskHandle(fleet, task_id).merge(by=by)

    async def settled(task_id: str, seconds: float) -> Task:
        with contextlib.suppress(TimeoutError):
            return await TaskHandle(fleet, task_id).settled(seconds)
        return await fleet.services.queue.get(task_id)

    services = fleet.services

    async def drafted(text: str, *, repo: str | None, structure: bool) -> tuple[Draft, str | None]:
        profile = None if structure else fleet.settings.chat.profile
        return await draft(text, fleet.settings, repo=repo, profile=profile, costs=services.costs), profile

    async def submit(plan: Plan, *, key: str | None, by: str) -> list[Task]:
        return await submit_plan(plan, services, key=key, by=by)

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
        scale=ServicesDoor(services).scale,
        settled=settled,
        manned=lambda profile: somebody_works(services, profile),
        chat=open_chat(services),
        draft=drafted,
        submit_plan=submit,
        bus=services.bus,
        webhooks=webhooks(services),
        intake=intake(services),
        push=notifications(services),
        scaler=lambda: scaler_control(services),
    )
