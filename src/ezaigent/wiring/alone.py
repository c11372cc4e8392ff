"""Who works a task that is waited for? If nobody does, ``submit --wait`` works it itself, in its own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from ezaigent.core.errors import UnavailableError
from ezaigent.core.settings import Settings
from ezaigent.fleet import WorkerInfo, profile_of
from ezaigent.tasks import MET, State, Task
from ezaigent.wiring.handle import Fleet, TaskHandle
from ezaigent.wiring.scaling import scaler_control
from ezaigent.wiring.services import Services, pools

Working = Literal["somebody", "held", "nobody"]
"""``held``: there are agents that would take the task, and every one of them is paused, or its models are parked."""

_LOOK: Final = 1.0
"""Seconds between two looks at who works."""
_LOOKS: Final = 2
"""Looks without a worker after which none is expected: one may just be restarted."""


async def somebody_works(services: Services, profile: str | None) -> bool:
    """Return whether a live worker would take a task of this profile (None: of any), now or once it is resumed."""
    return await who_works(services, profile) != "nobody"


async def who_works(services: Services, profile: str | None, *, own: str | None = None) -> Working:
    """Return whether live agents would take a task of this profile (None: of any).

    A worker that takes only tasks of its own does not count, except the one with the id ``own``.
    """
    parked = {
        name: profile_of(name) in worker.parked
        for worker in await services.roster.workers()
        if not worker.exclusive or worker.id == own
        for name in _able(worker, profile, services.settings)
    }
    parked = parked or dict.fromkeys(await _to_come(services, profile), False)
    if not parked:
        return "nobody"
    paused = await services.queue.pauses()
    return "held" if all(name in paused or parked[name] for name in parked) else "somebody"


async def _to_come(services: Services, profile: str | None) -> set[str]:
    """Return a name for each pool in which the autoscaler would start an agent for a task of this profile."""
    hosts = {name for worker in await services.roster.workers() for name in worker.hosts}
    if not hosts or (profile is not None and profile not in hosts):
        return set()
    view = await scaler_control(services).status()
    if view.state != "running":
        return set()
    return {f"{pool.pool}-0" for pool in view.pools if pool.max and pool.pool in hosts and profile in (None, pool.pool)}


def _able(worker: WorkerInfo, profile: str | None, settings: Settings) -> list[str]:
    """Return the worker's agents that take tasks of the profile; a task of no profile goes to general agents."""
    if profile is not None:
        return [name for name in worker.agents if profile_of(name) == profile]
    from ezaigent.agents import load_profiles

    known = load_profiles(settings)
    special = {name for name in worker.agents if (found := known.get(profile_of(name))) and not found.general}
    return [name for name in worker.agents if name not in special] or list(worker.agents)


async def until_nobody_works(
    handle: TaskHandle, services: Services, tell: Callable[[str], None], *, own: str | None = None
) -> None:
    """Return when no live worker can take the task any more (``own``: see ``who_works``); never once it has ended.

    Meanwhile ``tell``, once each time, that it waits for an agent that is paused or parked.
    """
    missing, told = 0, False
    while missing < _LOOKS:
        try:
            task = await handle.get()
            works = await who_works(services, task.profile, own=own)
            held = await _held(task, works, services)
        except UnavailableError:
            held, works = "", "somebody"  # nobody can tell now; whoever waits for the task hears of it
        else:
            if task.state.settled or task.state is State.BLOCKED:
                works = "somebody"
        if held and not told:
            tell(held)
        told = bool(held)
        missing = missing + 1 if works == "nobody" else 0
        await asyncio.sleep(_LOOK)


async def _held(task: Task, works: Working, services: Services) -> str:
    """Say in one line that the task waits for an agent that takes none; nothing where it does not."""
    if task.state is State.QUEUED and works == "held":
        return f"{task.id} {await services.queue.why(task.id)}"
    if task.state is State.RUNNING and task.agent in await services.queue.pauses():
        return f"{task.id} is held: {task.agent} is paused; let it go on with ezaigent agents resume {task.agent}"
    return ""


async def require_ready(task: Task, services: Services) -> None:
    """Raise ``UnavailableError`` where the task waits for others, so that one agent for it alone would be no help."""
    needed = [await services.queue.get(need) for need in task.needs]
    if any(need.state not in MET for need in needed):
        why = await services.queue.why(task.id)
        raise UnavailableError(
            f"{task.id} {why}; no worker is running for that, and it stays queued: start ezaigent up"
        )


def work_alone(settings: Settings, task_id: str, profile: str | None) -> Fleet:
    """Return a fleet with one agent that takes this task and no other."""
    wanted = {profile: 1} if profile else {next(iter(pools(settings, 1))): 1}
    return Fleet(settings, agents=wanted, work=True, only=task_id)
