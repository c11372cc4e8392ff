"""A command is made ready: whom it touches, whether it has to be asked for; then it is carried out."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from ezaigent.chat import queries, wordings
from ezaigent.chat.commands import (
    EVERYONE,
    Agents,
    Approve,
    Cancel,
    Clear,
    Command,
    Cost,
    Drain,
    Help,
    ListTasks,
    Pause,
    Period,
    Queue,
    Resume,
    Retry,
    Scale,
    ShowTask,
    Status,
    Steer,
    Submit,
    Tell,
    Why,
)
from ezaigent.core.errors import ConflictError, NotFoundError, UsageError
from ezaigent.tasks import NewTask, Priority, State

if TYPE_CHECKING:
    from ezaigent.chat.once import Once
    from ezaigent.chat.ports import AgentFacts, FleetDoor
    from ezaigent.store import Database
    from ezaigent.tasks import TaskQueue

_LISTED: Final = 20
_DAYS: Final[dict[Period, int]] = {"today": 0, "week": 6, "month": 29}


class Ready(BaseModel):
    """A command with everything resolved, as it is shown and, later, carried out; nothing is looked up again."""

    model_config = ConfigDict(frozen=True)

    command: Command
    understood: str
    touches: tuple[str, ...] = ()
    """Names of agents or ids of tasks; of what /clear takes the first few."""
    clears: tuple[str, ...] = ()
    """Ids of all tasks that /clear takes; nobody is shown them."""
    ask: bool = False

    @property
    def count(self) -> int:
        """How many agents or tasks it touches."""
        return len(self.clears or self.touches)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to an agent that has a task."""

    agent: str
    task_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a command."""

    text: str
    data: Any = None
    letters: tuple[Letter, ...] = ()
    """Messages to agents, to be sent together with the answer being kept."""


class Carrier:
    """Carries commands out on the queue and the fleet."""

    def __init__(self, db: Database, queue: TaskQueue, fleet: FleetDoor, *, once: Once | None = None) -> None:
        """Look into ``db``, act through ``queue`` and ``fleet``; every change names the person who asked for it.

        ``once`` tells the line from all others: carried out again, it queues no second task.
        """
        self._db = db
        self._queue = queue
        self._fleet = fleet
        self._once = once

    async def ready(
        self, command: Command, *, source: Literal["slash", "sentence", "model"], guessed: bool, repo: str | None
    ) -> Ready:
        """Resolve a command: full ids, names of agents, the repository. Raises ``UsageError`` where it cannot be.

        What is destructive or touches many is asked for, a message to everyone too when only one is at work; a slash
        command that says exactly whom it means, and that can be taken back, is not. What was guessed, or read by a
        model, is always asked for.
        """
        unsure, sentence = guessed or source == "model", source != "slash"
        match command:
            case Pause() | Resume() | Drain() | Tell():
                ready = await self._aimed(command, unsure=unsure, sentence=sentence)
            case Clear():
                ready = await self._unbegun(command)
            case Cancel() | Retry() | Approve():
                ready = await self._one_task(command, unsure=unsure, sentence=sentence)
            case Scale():
                ready = await self._scaled(command, unsure=unsure)
            case Submit():
                ready = await self._placed(command, repo, ask=unsure or sentence)
            case _:
                ready = Ready(command=command, understood=wordings.understood(command))
        return ready

    async def carry(self, ready: Ready, *, by: str) -> Done:
        """Carry a command out as it was made ready."""
        command = ready.command
        match command:
            case Pause() | Resume() | Drain():
                done = await self._steer(command, ready.touches, by=by)
            case Tell():
                done = await self._tell(command, ready.touches)
            case Submit():
                done = await self._submit(command, by=by)
            case Cancel() | Retry() | Approve():
                done = await self._decide(command, by=by)
            case Scale():
                assert command.to is not None
                text = await self._fleet.scale(command.pool, command.to, by=by)
                done = Done(text, {"pool": command.pool, "to": command.to})
            case Clear():
                done = await self._clear(ready.clears, by=by)
            case _:
                done = await self._look(command)
        return done

    # ------------------------------------------------------------------------------------------ looking

    async def _look(self, command: Status | Queue | Agents | ShowTask | ListTasks | Why | Cost | Help) -> Done:
        match command:
            case Help():
                done = Done(wordings.help_text())
            case Status():
                done = await self._status()
            case Queue():
                stats = await self._queue.stats()
                done = Done(wordings.queue_text(stats), stats.model_dump(mode="json"))
            case Agents():
                agents = await self._fleet.agents()
                done = Done(wordings.agents_text(agents), _dump(agents))
            case ShowTask():
                done = await self._task(command.task)
            case ListTasks():
                states = [State(state) for state in command.states] or None
                tasks = await self._queue.list(states=states, limit=_LISTED)
                data = [{"id": task.id, "state": task.state.value, "title": task.title} for task in tasks]
                done = Done(wordings.tasks_text(tasks, command.states), data)
            case Why():
                task = await self._queue.get(command.task)
                why = await self._queue.why(task.id)
                done = Done(f"{task.id} {why}", {"task": task.id, "why": why})
            case Cost():
                cost = await self._fleet.cost(since(command.period))
                done = Done(f"{command.period}: {wordings.cost_text(cost)}", cost.model_dump())
        return done

    async def _status(self) -> Done:
        stats, agents = await self._queue.stats(), await self._fleet.agents()
        today = await self._fleet.cost(since("today"))
        data = {"queue": stats.model_dump(mode="json"), "agents": _dump(agents), "today": today.model_dump()}
        return Done(wordings.status_text(stats, agents, today), data)

    async def _task(self, task_id: str) -> Done:
        task = await self._queue.get(task_id)
        cost, why = await self._fleet.task_cost(task.id), await self._queue.why(task.id)
        text = f"{wordings.task_line(task)}\n{why}\n{wordings.cost_text(cost)}"
        return Done(text, {"task": task.id, "state": task.state.value, "why": why, "cost": cost.model_dump()})

    # ------------------------------------------------------------------------------------------ agents

    async def _meant(self, command: Steer | Tell) -> list[AgentFacts]:
        agents = await self._fleet.agents()
        profiles = self._fleet.profiles()
        for name in (*command.targets, *command.excepted):
            if name != EVERYONE and name not in profiles and all(name != agent.name for agent in agents):
                there = wordings.listed([agent.name for agent in agents]) or "none (start some with: ezaigent up)"
                raise NotFoundError(f"no agent {name!r}; there are: {there}")
        return [
            agent
            for agent in agents
            if {EVERYONE, agent.name, agent.profile} & set(command.targets)
            and not {agent.name, agent.profile} & set(command.excepted)
        ]

    async def _aimed(self, command: Steer | Tell, *, unsure: bool, sentence: bool) -> Ready:
        agents = await self._meant(command)
        if isinstance(command, Tell):
            agents = [agent for agent in agents if agent.task_id]
            if not agents:
                raise ConflictError(f"{wordings.idle(command)} now; say it in the prompt of the next task")
        names = tuple(agent.name for agent in agents)
        many = len(names) != 1 and (sentence or isinstance(command, Drain | Tell))
        if isinstance(command, Tell) and EVERYONE in command.targets:  # who that is now, the card says
            many = True
        return Ready(command=command, understood=wordings.understood(command), touches=names, ask=unsure or many)

    async def _tell(self, command: Tell, touched: Sequence[str]) -> Done:
        letters = tuple(
            Letter(agent.name, agent.task_id, command.text)
            for agent in await self._fleet.agents()
            if agent.name in touched and agent.task_id
        )
        names = [letter.agent for letter in letters]
        said = f"told {wordings.listed(names)}: read before the next model request"
        return Done(said if names else "nobody is at work any more", {"agents": names}, letters)

    async def _steer(self, command: Steer, touched: Sequence[str], *, by: str) -> Done:
        said = {Pause: "paused", Resume: "going on", Drain: "finishing, then gone"}[type(command)]
        if isinstance(command, Drain):
            names = list(await self._fleet.drain(touched, by=by)) if touched else []
        else:
            act = self._queue.pause if isinstance(command, Pause) else self._queue.resume
            undo = self._queue.resume if isinstance(command, Pause) else self._queue.pause
            exceptions = [name for name in command.excepted if await self._excepted(command, name)]
            for target in command.targets:
                await act(target, by=by)
            for name in exceptions:
                await undo(name, by=by)
            names = list(touched)
        text = f"{said}: {wordings.listed(names) or 'nobody is there now; it holds for those who come'}"
        return Done(text, {"agents": names, "did": command.kind})

    async def _excepted(self, command: Steer, name: str) -> bool:
        """Whether an exception has to be said: ``everyone except claude-1`` leaves claude-1 as it was before."""
        pauses = await self._queue.pauses()
        return (name in pauses) is isinstance(command, Resume)

    async def _scaled(self, command: Scale, *, unsure: bool) -> Ready:
        if command.pool not in self._fleet.profiles():
            raise NotFoundError(f"no profile {command.pool!r}; known: {', '.join(self._fleet.profiles())}")
        present = [agent for agent in await self._fleet.agents() if agent.profile == command.pool]
        there = await self._fleet.size(command.pool)
        target = command.to if command.to is not None else max(0, there + (command.by or 0))
        exact = Scale(pool=command.pool, to=target)
        said = f"scale {command.pool} from {there} to {target} agents"
        return Ready(
            command=exact,
            understood=said,
            touches=tuple(agent.name for agent in present) if target < there else (),
            ask=unsure or target < there,
        )

    # ------------------------------------------------------------------------------------------ tasks

    async def _unbegun(self, command: Clear) -> Ready:
        ids, queued = await self._db.read(queries.unbegun)
        whom = "1 task that has" if len(ids) == 1 else f"{len(ids)} tasks that have"
        said = f"cancel {whom} not begun: {queued} queued, {len(ids) - queued} waiting"
        shown = tuple(ids[: wordings.SHOWN])
        return Ready(command=command, understood=said, touches=shown, clears=tuple(ids), ask=bool(ids))

    async def _one_task(self, command: Cancel | Retry | Approve, *, unsure: bool, sentence: bool) -> Ready:
        task = await self._queue.get(command.task)
        exact = command.model_copy(update={"task": task.id})
        ask = unsure or isinstance(command, Cancel) or (isinstance(command, Approve) and sentence)
        said = f"{wordings.understood(exact)} ({task.state.value}: {wordings.short(task.title)})"
        return Ready(command=exact, understood=said, touches=(task.id,), ask=ask)

    async def _placed(self, command: Submit, repo: str | None, *, ask: bool) -> Ready:
        found = command.repo or repo or await self._last_repo()
        if found is None:
            raise UsageError("which repository is it for? say it again with: in PATH_OR_URL")
        exact = command.model_copy(update={"repo": found})
        return Ready(command=exact, understood=wordings.understood(exact), ask=ask)

    async def _submit(self, command: Submit, *, by: str) -> Done:
        assert command.repo is not None
        new = NewTask(
            prompt=command.prompt,
            repo=command.repo,
            profile=command.profile,
            priority=Priority[command.priority.upper()],
            key=self._key(command.prompt),
        )
        task = (await self._fleet.submit([new], by=by))[0]
        return Done(f"queued as {task.id}", {"task": task.id, "state": task.state.value})

    def _key(self, prompt: str) -> str | None:
        """Return the task's own key; other work under a key that is used again is another task."""
        if self._once is None:
            return None
        return f"chat:{hashlib.sha256(ascii((*self._once, prompt)).encode()).hexdigest()}"

    async def _decide(self, command: Cancel | Retry | Approve, *, by: str) -> Done:
        act = {Cancel: self._queue.cancel, Retry: self._queue.retry, Approve: self._queue.approve}[type(command)]
        task = await act(command.task, by=by)
        stops = "; it stops at its next step" if isinstance(command, Cancel) and task.state is State.RUNNING else ""
        return Done(f"{task.id} is {task.state.value}{stops}", {"task": task.id, "state": task.state.value})

    async def _clear(self, ids: Sequence[str], *, by: str) -> Done:
        """Cancel exactly the tasks that were shown, as far as they have still not begun."""
        gone = await self._queue.clear(ids, by=by)
        begun = f"; {len(ids) - len(gone)} had begun or ended meanwhile" if len(gone) < len(ids) else ""
        text = (
            f"cancelled {len(gone)} tasks{begun}" if ids else "there is nothing to clear: no task is queued or waiting"
        )
        return Done(text, {"cancelled": gone[: wordings.SHOWN], "count": len(gone)})

    async def _last_repo(self) -> str | None:
        tasks = await self._queue.list(limit=1)
        return tasks[0].repo if tasks else None


def since(period: Period) -> float | None:
    """Return when a period began, in seconds since 1970; None for all there ever was."""
    if period == "all":
        return None
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - dt.timedelta(days=_DAYS[period])).timestamp()


def _dump(agents: Sequence[AgentFacts]) -> list[dict[str, Any]]:
    return [agent.model_dump(mode="json") for agent in agents]
