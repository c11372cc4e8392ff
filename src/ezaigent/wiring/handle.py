"""The Python API: a fleet to submit tasks to, and a handle on each task."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from ezaigent.core.change import Change
from ezaigent.core.errors import ConflictError, RunError, UnavailableError, UsageError
from ezaigent.core.events import Event
from ezaigent.core.money import nano_usd
from ezaigent.core.settings import Settings
from ezaigent.fleet import AgentView, TaskView
from ezaigent.tasks import EVERYONE, NewTask, Priority, State, Task
from ezaigent.wiring.launching import open_crew
from ezaigent.wiring.services import Services, open_services, open_worker, open_workspaces, pools
from ezaigent.wiring.settings import load_settings

if TYPE_CHECKING:
    from ezaigent.fleet import Crew, Launcher, Worker


T = TypeVar("T")


class TaskHandle:
    """A submitted task."""

    def __init__(self, fleet: Fleet, task_id: str) -> None:
        """Use ``Fleet.submit`` or ``Fleet.task``."""
        self._fleet = fleet
        self.id = task_id

    async def get(self) -> Task:
        """Return the task as it is now."""
        return await self._fleet.services.queue.get(self.id)

    async def view(self) -> TaskView:
        """Return the task with its tokens and its cost."""
        return await self._fleet.view(await self.get())

    async def settled(self, timeout: float | None = None) -> Task:
        """Wait until no agent will work on the task again (or a person must answer); return it.

        Raises ``TimeoutError`` after ``timeout`` seconds, and the error that ended the worker in this process.
        """
        async with asyncio.timeout(timeout):
            return await self._fleet.unless_broken(self._settled())

    async def _settled(self) -> Task:
        head = await self._fleet.services.events.head()
        task = await self.get()
        if task.state.settled or task.state is State.BLOCKED:
            return task
        async for event in self._fleet.events(after=head, task_id=self.id):
            if event.kind in ENDINGS:
                task = await self.get()
                if task.state.settled or task.state is State.BLOCKED:
                    return task
        raise AssertionError("the event log ended")  # pragma: no cover - follow() never ends

    async def wait(self, timeout: float | None = None) -> Change:
        """Wait for the task's change and return it.

        Raises ``RunError`` with the reason when the task failed, was cancelled or is blocked, ``TimeoutError`` after
        ``timeout`` seconds.
        """
        task = await self.settled(timeout)
        if task.change is None:
            raise RunError(f"task {task.id} is {task.state.value}: {task.reason or 'no change was made'}")
        return task.change

    async def diff(self) -> str:
        """Return the change as a patch; without a change, the work kept in the last checkpoint."""
        task = await self.get()
        workspaces = await open_workspaces(self._fleet.services, confined=False)
        return await workspaces.diff(task.id, task.repo, task.change)

    async def cancel(self, *, by: str) -> Task:
        """Cancel the task; a running one stops at once."""
        return await self._fleet.services.queue.cancel(self.id, by=by)

    async def retry(self, *, by: str) -> Task:
        """Queue the task again with fresh attempts."""
        return await self._fleet.services.queue.retry(self.id, by=by)

    async def approve(self, *, by: str) -> Task:
        """Accept the change: review → done."""
        return await self._fleet.services.queue.approve(self.id, by=by)

    async def merge(self, *, by: str) -> Task:
        """Put the change onto its base branch if the merged tree passes the checks; then the task is done.

        Raises ``UsageError`` when there is no change in review, on a conflict, and when the branch is checked out
        where it would be changed; ``RunError`` when a check fails on the merged tree.
        """
        task = await self.get()
        if task.state is not State.REVIEW or task.change is None:
            raise ConflictError(f"task {task.id} is {task.state.value}; only a task in review can be merged")
        workspaces = await open_workspaces(self._fleet.services, confined=True)
        merged = await workspaces.merge(task.id, task.repo, task.base, task.change, task.checks)
        return await self._fleet.services.queue.approve(self.id, by=by, commit=merged)

    async def events(self) -> AsyncIterator[Event]:
        """Yield the task's events from its first one on, and further ones as they come."""
        async for event in self._fleet.events(after=0, task_id=self.id):
            yield event


ENDINGS = frozenset({"task.review", "task.done", "task.failed", "task.cancelled", "task.blocked"})


class Fleet:
    """The door for programs: ``async with Fleet.embedded() as fleet: task = await fleet.submit(...)``."""

    def __init__(
        self,
        settings: Settings,
        *,
        agents: Mapping[str, int] | int | None = None,
        hosts: Collection[str] = (),
        room: int | None = None,
        launch: bool = False,
        work: bool,
        only: str | None = None,
    ) -> None:
        """Use ``Fleet.embedded`` or ``Fleet.connect``."""
        self.settings = settings
        self.services: Services
        self.worker: Worker | None = None
        self._agents = agents
        self._hosts = hosts
        self._room = room
        self._launch = launch and settings.launcher.kind != "inline"
        self._crew: Crew | None = None
        self._work = work
        self._only = only
        self._running: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    @classmethod
    def embedded(
        cls,
        home: Path | str | None = None,
        *,
        agents: Mapping[str, int] | int | None = None,
        hosts: Collection[str] = (),
        room: int | None = None,
        launch: bool = False,
        settings: Settings | None = None,
    ) -> Self:
        """Return a fleet that works in this process.

        ``agents`` is a total or a number by profile; left out, what is configured or what the keys at hand allow. Its
        worker also adopts agents of the profiles ``hosts`` that were ordered for the whole fleet, until it hosts
        ``room`` (left out: any number). With ``launch`` the agents run where ``[launcher]`` says.
        """
        given = settings or load_settings(home=home)
        return cls(given, agents=agents, hosts=hosts, room=room, launch=launch, work=True)

    @classmethod
    def connect(
        cls,
        home: Path | str | None = None,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Return a fleet whose workers run elsewhere: another process on this home, or other machines."""
        given: dict[str, Any] = {}
        if database_url is not None:
            given["database_url"] = database_url
        if redis_url is not None:
            given["redis_url"] = redis_url
        return cls(settings or load_settings(home=home, **given), work=False)

    async def __aenter__(self) -> Self:
        self.services = await self._stack.enter_async_context(open_services(self.settings))
        try:
            if self._work:
                await self._start_worker()
        except BaseException:
            if self._running is not None:
                self._running.cancel()
                await asyncio.wait([self._running])
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._running is not None:
                self.abort()
                await self.join()
        finally:
            await self._stack.aclose()

    async def _start_worker(self) -> None:
        wanted = self._agents if isinstance(self._agents, Mapping) else pools(self.settings, self._agents)
        own: Mapping[str, int] = {} if self._launch else wanted
        hosts = () if self._launch else self._hosts
        only = frozenset({self._only}) if self._only else None
        self.worker = await self._stack.enter_async_context(
            open_worker(self.services, own, hosts=hosts, room=self._room, only=only)
        )
        self._running = asyncio.create_task(self.worker.run(), name="worker")
        ready = asyncio.create_task(self.worker.ready())
        await asyncio.wait({ready, self._running}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._running.done():
            await self._running
            raise UnavailableError("the worker ended before it was ready")
        if self._launch:
            hosts = list(dict.fromkeys((*wanted, *self._hosts)))
            self._crew = await self._stack.enter_async_context(open_crew(self.services, wanted, hosts))

    @property
    def launcher(self) -> Launcher | None:
        """What finds workers for the agents of this fleet; None where its own worker takes them."""
        return self._crew.launcher if self._crew is not None else None

    def launch_where(self, leads: Callable[[], bool]) -> None:
        """Let the launcher start workers where ``leads`` says so rather than elsewhere; nothing to do without one."""
        if self._crew is not None:
            self._crew.should_lead = leads

    def stop(self) -> None:
        """Claim nothing more; ``join`` returns when the running tasks have ended, or the drain deadline has."""
        if self.worker is not None:
            self.worker.stop()

    def abort(self) -> None:
        """Stop at once: running commands end, the tasks go back to the queue. Started workers do the same."""
        if self.worker is not None:
            self.worker.abort()
        if self._crew is not None:
            self._crew.launcher.hurry()

    async def join(self) -> None:
        """Return when the embedded worker has ended, and the processes that were started for it."""
        if self._running is not None:
            await self._running
        if self._crew is not None:
            await self._crew.close()

    async def unless_broken(self, wait: Coroutine[Any, Any, T]) -> T:
        """Return what ``wait`` returns; raise the error of the embedded worker when that ends with one meanwhile."""
        if self._running is None:
            return await wait
        waiting = asyncio.create_task(wait)
        try:
            await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and not self._running.cancelled() and (error := self._running.exception()):
                raise error
            return await waiting  # where the worker was stopped, another may work the task
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})

    async def submit(
        self, prompt: str, repo: str | Path, *, budget_usd: float | None = None, by: str | None = None, **fields: Any
    ) -> TaskHandle:
        """Queue a task and return its handle; it is durable when this returns.

        ``by`` is who asked for it, for the event log. ``fields`` are those of ``NewTask``: base, title, profile,
        priority, needs, scope, checks, not_before, key.
        Raises ``UsageError`` for a repository or base that cannot be used, an unknown profile or need.
        """
        if isinstance(fields.get("priority"), str):
            fields["priority"] = Priority[str(fields["priority"]).upper()]
        fields["needs"] = tuple(
            need.id if isinstance(need, TaskHandle) else need for need in _each(fields.get("needs", ()))
        )
        budget = nano_usd(budget_usd) if budget_usd is not None else None
        new = NewTask(prompt=prompt, repo=str(repo), budget_nusd=budget, **fields)
        return (await self.submit_many([new], by=by))[0]

    async def submit_many(self, new: Sequence[NewTask], *, by: str | None = None) -> list[TaskHandle]:
        """Queue several tasks in one transaction; their needs may name each other's keys."""
        from ezaigent.wiring.admission import admit

        tasks = await self.services.queue.submit_many(
            [await admit(one, self.settings, self.services.db) for one in new], by=by
        )
        return [TaskHandle(self, task.id) for task in tasks]

    async def task(self, task_id: str) -> TaskHandle:
        """Return the handle of the task with this id or unique beginning of an id."""
        return TaskHandle(self, (await self.services.queue.get(task_id)).id)

    async def tasks(
        self, *, states: Sequence[State] | None = None, profile: str | None = None, limit: int = 50
    ) -> list[TaskView]:
        """Return tasks, newest first."""
        found = await self.services.queue.list(states=states, profile=profile, limit=limit)
        totals = await self.services.costs.tasks([task.id for task in found])
        return [TaskView.of(task, totals[task.id]) for task in found]

    async def agents(self) -> list[AgentView]:
        """Return the agents that exist, and paused ones that do not, with their derived status."""
        return await self.services.roster.agents()

    async def steer(self, verb: Literal["pause", "resume"], agent: str, *, by: str) -> list[str]:
        """Pause or resume an agent, a pool, or ``all``; return the names of those that are there.

        It holds for agents that start later, too, and over restarts. The most particular word holds: an agent may be
        resumed out of a paused pool. A word about a pool, or about all, takes back those about its agents.
        """
        from ezaigent.agents import load_profiles

        names = await self.services.roster.named(agent, pools=load_profiles(self.settings))
        act = self.services.queue.pause if verb == "pause" else self.services.queue.resume
        await act(EVERYONE if agent == "all" else agent, by=by)
        return names

    async def drain(self, agent: str, *, by: str) -> list[str]:
        """Let an agent, the agents of a pool, or ``all`` finish what they do and then go; return their names.

        The autoscaler does not take them back; it may start others. Raises ``NotFoundError`` where there are none.
        """
        from ezaigent.fleet import DRAINED, leave

        names = await self.services.roster.named(agent)
        await self.services.db.write(lambda conn: leave(conn, names, f"{DRAINED}{by}", recallable=False))
        return names

    async def message(self, agent: str, text: str, *, by: str, key: str | None = None) -> list[str]:
        """Write to running agents; it is delivered before their next model request. Return their names.

        The same ``key`` of the same person any number of times is one message.
        """
        if not text.strip():
            raise UsageError("the message is empty")
        queue = self.services.queue
        if key is not None and (reached := await queue.posted_under(text=text, by=by, key=key)):
            return reached
        names = await self.services.roster.named(agent)
        working = [view for view in await self.services.roster.agents() if view.name in names and view.task_id]
        if not working:
            raise ConflictError(f"{', '.join(names)} has no task now; say it in the prompt of the next one")
        if key is not None:
            to = [(view.name, view.task_id or "") for view in working]
            return await queue.post_once(to, text=text, by=by, key=key)
        for view in working:
            await queue.post_message(agent=view.name, task_id=view.task_id, text=text, by=by)
        return [view.name for view in working]

    async def view(self, task: Task) -> TaskView:
        """Join a task with what it cost."""
        return TaskView.of(task, await self.services.costs.task(task.id))

    async def events(
        self, *, after: int | None = None, task_id: str | None = None, kinds: Sequence[str] | None = None
    ) -> AsyncIterator[Event]:
        """Yield events numbered above ``after`` (left out: from now on), and further ones as they come."""
        start = await self.services.events.head() if after is None else after
        follower = self.services.events.follow(start, task_id=task_id, kinds=kinds)
        async with contextlib.aclosing(follower):  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]
            async for event in follower:
                yield event


def _each(value: Any) -> Sequence[Any]:
    return (value,) if isinstance(value, str | TaskHandle) else tuple(value)
