"""Pick the adapters and build the services; what is slow to import is imported when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ezaigent import __version__
from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.ids import new_id
from ezaigent.core.money import nano_usd
from ezaigent.core.settings import Settings
from ezaigent.core.telemetry import configure_logging
from ezaigent.fleet import Roster, liveness
from ezaigent.live import LiveBus, open_bus
from ezaigent.store import Database, EventLog, emit
from ezaigent.tasks import TaskQueue
from ezaigent.wiring.faraway import guarding
from ezaigent.wiring.secrets import secrets_in

if TYPE_CHECKING:
    from ezaigent.costs import CostBook
    from ezaigent.fleet import Conductor, Worker
    from ezaigent.wiring.apart import Conducting
    from ezaigent.workspaces import Workspaces

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Services:
    """What every door of the product works with."""

    settings: Settings
    db: Database
    bus: LiveBus
    events: EventLog
    queue: TaskQueue
    costs: CostBook

    @property
    def embedded(self) -> bool:
        """Whether the store is one file on this machine, so that every worker is a process of it."""
        return self.db.dialect == "sqlite"

    @property
    def locks(self) -> Path:
        """Folder of the embedded workers' lock files."""
        given = self.settings.database_url
        if given is None:
            return self.settings.home / "workers"
        return Path(f"{given.get_secret_value().partition(':///')[2]}.workers")

    @property
    def roster(self) -> Roster:
        """Who is there."""
        return Roster(self.db, self.locks if self.embedded else None)


def database_url(settings: Settings) -> str:
    """Return where the store is; the home folder is made for the embedded one."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    make_home(settings)
    return f"sqlite:///{embedded_database(settings)}"


def embedded_database(settings: Settings) -> Path:
    """Return the file of the embedded store, which may not be there yet."""
    return settings.home / "ezaigent.db"


def make_home(settings: Settings) -> None:
    """Make the home folder. Raises ``UnavailableError`` when it cannot be made."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UnavailableError(
            f"the home folder {str(settings.home)!r} cannot be made: {error.strerror}; set EZAIGENT_HOME"
        ) from None


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncGenerator[Services]:
    """Open the store and the live bus; raises ``UnavailableError`` when the store cannot be reached."""
    from ezaigent.costs import CostBook

    configure_logging(settings.log_level, secrets_in(settings))
    async with AsyncExitStack() as stack:
        db = await Database.open(database_url(settings))
        stack.push_async_callback(db.close)
        redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
        news = _BusNews(db)
        stack.push_async_callback(news.written)
        bus = await open_bus(redis_url, on_state=news)
        stack.push_async_callback(bus.close)
        budget = settings.costs.task_budget_usd
        yield Services(
            settings=settings,
            db=db,
            bus=bus,
            events=EventLog(db),
            queue=TaskQueue(db, settings.queue, bus, nano_usd(budget) if budget is not None else None),
            costs=CostBook(db, settings.costs),
        )


class _BusNews:
    """Logs, and writes as an event, that the live bus was lost or is back; each once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._writing: set[asyncio.Task[None]] = set()

    def __call__(self, up: bool, reason: str) -> None:  # noqa: FBT001 - the bus's callback
        if up:
            log.warning("the live bus is back")
        else:
            log.warning("the live bus cannot be reached; work goes on by polling", reason=reason)
        task = asyncio.get_running_loop().create_task(self._write("live.restored" if up else "live.lost", reason))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, kind: str, reason: str) -> None:
        with contextlib.suppress(UnavailableError):  # then the store has its own troubles to tell
            await self._db.write(lambda conn: emit(conn, kind, data={"reason": reason}))

    async def written(self) -> None:
        """Return when all is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)


def pools(settings: Settings, agents: int | None = None) -> dict[str, int]:
    """Return agents by profile: as configured, else one for each provider whose key is at hand, else mechanics.

    ``agents`` is the wanted total; the profiles take turns. Raises ``UsageError`` for a profile that does not exist.
    """
    from ezaigent.agents import keys_present, load_profiles

    profiles = load_profiles(settings)
    wanted = {name: count for name, count in settings.fleet.pools.items() if count}
    for name in wanted:
        if name not in profiles:
            raise UsageError(f"[fleet] pools names no known profile {name!r}; known: {', '.join(sorted(profiles))}")
    if wanted and agents is None:
        return wanted
    if not wanted:
        keys = keys_present(settings)
        able = [
            profile.name for profile in profiles.values() if not profile.offline and keys.get(profile.provider, False)
        ]
        names = [*able, "mechanic"] if able else ["mechanic"]
    else:
        names = list(wanted)
    total = agents if agents is not None else max(len(names), 2)
    return {
        name: count for index, name in enumerate(names) if (count := total // len(names) + (index < total % len(names)))
    }


@asynccontextmanager
async def open_worker(
    services: Services,
    pools: Mapping[str, int],
    *,
    hosts: Collection[str] = (),
    room: int | None = None,
    only: frozenset[str] | None = None,
    conducting: Conducting | None = None,
    apart: Sequence[str] | None = None,
) -> AsyncGenerator[Worker]:
    """Build a worker with its sandbox, workspaces and agents; it runs when its ``run`` is awaited.

    It hosts the agents asked for in ``pools``, and adopts seats of the profiles ``hosts`` until it hosts ``room``
    agents in all (None: any number). What dead workers held is given back first, where that can be known.
    Programs that try the fleet out may put something else in the place of what carries tasks through their runs:
    ``conducting`` here, and the command ``apart`` for a suspected one.
    """
    from ezaigent.agents import load_profiles
    from ezaigent.fleet import Apart, Hosting, Peers, Worker, WorkerInfo, clean_forever
    from ezaigent.wiring.apart import COMMAND, order

    settings = services.settings
    profiles = load_profiles(settings)
    names = list(dict.fromkeys((*pools, *hosts)))
    for name in names:
        if name not in profiles:
            raise UsageError(f"no profile {name!r} for the agents; known: {', '.join(sorted(profiles))}")
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{new_id()[-5:]}"
    async with AsyncExitStack() as stack:
        if services.embedded:
            stack.enter_context(liveness.hold(services.locks, worker_id))
        peers = Peers(
            db=services.db,
            bus=services.bus,
            worker=worker_id,
            lease=settings.queue.lease,
            locks=services.locks if services.embedded else None,
        )
        await peers.clear()
        conductor = await stack.enter_async_context((conducting or open_conductor)(services))
        workspaces = conductor.workspaces
        info = WorkerInfo(
            id=worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            sandbox=workspaces.level,
            exclusive=only is not None,
            hosts=tuple(hosts),
            room=room,
            lease=settings.queue.lease,
        )
        hosting = Hosting(
            services.db,
            info,
            pools,
            {name for name in names if profiles[name].general} or names,
            lease=settings.queue.lease,
            settles=not services.embedded,
        )
        await hosting.enter()
        cleaner = asyncio.create_task(clean_forever(services.db, workspaces), name="clean up")
        stack.push_async_callback(_ended, cleaner)
        yield Worker(
            hosting=hosting,
            peers=peers,
            db=services.db,
            queue=services.queue,
            events=services.events,
            bus=services.bus,
            conductor=Apart(conductor, services.queue, apart or COMMAND, order(settings)),
            queue_settings=settings.queue,
            fleet_settings=settings.fleet,
            recovery=settings.recovery,
            command_limit=settings.sandbox.timeout,
            only=only,
        )


@asynccontextmanager
async def open_conductor(services: Services) -> AsyncGenerator[Conductor]:
    """Build what carries claims through their runs: sandbox, workspaces, agents. Raises ``SandboxUnavailable``."""
    from ezaigent.agents import build_runtime, load_profiles
    from ezaigent.fleet import Conductor
    from ezaigent.workspaces import Workspaces, detect

    settings = services.settings
    sandbox = await detect(settings.sandbox, hidden=[settings.home])
    async with build_runtime(services.db, settings, services.costs, services.bus) as runtime:
        yield Conductor(
            db=services.db,
            queue=services.queue,
            workspaces=Workspaces(settings.home, settings.workspaces, sandbox, guard=guarding(services.db, settings)),
            runtime=runtime,
            costs=services.costs,
            profiles=load_profiles(settings),
            check_rounds=settings.fleet.check_rounds,
            publish=settings.workspaces.publish,
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def open_workspaces(services: Services, *, confined: bool) -> Workspaces:
    """Return the workspaces of this machine: ``confined`` with the strongest sandbox that works here, else to look at.

    Raises ``SandboxUnavailable`` when a sandbox is wanted and none works.
    """
    from ezaigent.workspaces import Workspaces, detect

    settings = services.settings
    sandbox = await detect(settings.sandbox, hidden=[settings.home]) if confined else None
    return Workspaces(settings.home, settings.workspaces, sandbox, guard=guarding(services.db, settings))
