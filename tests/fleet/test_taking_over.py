"""Real workers of which one dies or stands still: another one takes its task over long before the lease ends."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict

import pytest
from tests.fleet.scene import CHECK, LOG, Process, Scene, Zygote
from tests.services import RedisServer, until

from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet

LEASE = 600.0
"""Seconds that no test waits for."""
ENV = {"EZAIGENT_QUEUE__LEASE": str(LEASE)}


@pytest.fixture
def patient(scene: Scene) -> Scene:
    """A fleet on one machine, with that lease."""
    scene.more = {"queue": {"lease": LEASE, "backoff": 0.05}}
    return scene


@pytest.fixture
def spread(postgres_scene: Scene, redis_database: str) -> Scene:
    """The same on PostgreSQL and Redis."""
    postgres_scene.redis = redis_database
    postgres_scene.more = {"queue": {"lease": LEASE, "backoff": 0.05}}
    return postgres_scene


async def pair(workers: Zygote, scene: Scene, server: ModelServer) -> tuple[str, Process]:
    """Let a worker wait for the model in a task, and another one be idle; return the task and the first one."""
    server.fail(Fault("hang", step=1))
    first = workers.worker(scene, **ENV)
    await first.ready()
    async with scene.client() as person:
        task = await person.submit("Write the log.", scene.repo, checks=(CHECK,))
    await server.wait_until(lambda records: len(records) >= 2)
    await workers.worker(scene, **ENV).ready()
    return task.id, first


async def looked(fleet: Fleet, times: int) -> None:
    """Wait until both workers have announced themselves, and so looked at each other, so many times more."""
    said: defaultdict[str, set[float]] = defaultdict(set)

    async def enough() -> bool:
        for worker, one in (await fleet.services.bus.present("workers")).items():
            said[worker].add(one["cpu"])
        return len(said) == 2 and all(len(different) > times for different in said.values())

    await until(enough, within=60, what="both have looked")


async def taken_over(fleet: Fleet, task_id: str, scene: Scene, reason: str) -> None:
    """The task is finished by another worker, and the event says why."""
    task = await (await fleet.task(task_id)).settled(timeout=60)
    assert (task.state, task.crashes) == (State.REVIEW, 1)
    assert scene.branch(task_id)["log.txt"] == LOG
    (lost,) = await fleet.services.events.read(0, limit=2000, kinds=["worker.lost"])
    assert (lost.data["reason"], lost.data["tasks"]) == (reason, 1)


async def test_a_killed_worker_of_the_same_home_is_taken_over_at_once(
    patient: Scene, server: ModelServer, workers: Zygote
) -> None:
    task_id, first = await pair(workers, patient, server)
    server.clear_faults()
    first.send(signal.SIGKILL)
    async with patient.client() as person:
        await taken_over(person, task_id, patient, "its process has ended")


@pytest.mark.postgres
@pytest.mark.redis
async def test_with_redis_a_killed_worker_is_taken_over_before_its_lease_ends(
    spread: Scene, server: ModelServer, workers: Zygote
) -> None:
    task_id, first = await pair(workers, spread, server)
    async with spread.client() as person:
        await looked(person, 3)
        assert {one["busy"] for one in (await person.services.bus.present("workers")).values()} == {0, 1}
        server.clear_faults()
        first.send(signal.SIGKILL)
        await taken_over(person, task_id, spread, "it is gone from the live bus")


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_worker_held_by_sigstop_is_taken_over_and_comes_back(
    spread: Scene, server: ModelServer, workers: Zygote
) -> None:
    task_id, first = await pair(workers, spread, server)
    async with spread.client() as person:
        await looked(person, 3)
        first.send(signal.SIGSTOP)
        await first.stopped()
        server.clear_faults()
        await taken_over(person, task_id, spread, "it is gone from the live bus")
        first.send(signal.SIGCONT)

        async def back() -> bool:
            return len(await person.services.events.read(0, limit=2000, kinds=["worker.back"])) == 1

        async def both_idle() -> bool:
            return [view.status for view in await person.agents()] == ["idle", "idle"]

        await until(back, within=30, what="it is on the list again")
        await until(both_idle, within=30, what="both are idle")
        task = await (await person.task(task_id)).get()
        assert (task.state, task.crashes) == (State.REVIEW, 1), "its late writes were refused"


@pytest.mark.postgres
@pytest.mark.redis
async def test_redis_that_forgets_everything_costs_no_lease(
    spread: Scene, server: ModelServer, workers: Zygote, redis_server: RedisServer
) -> None:
    task_id, _ = await pair(workers, spread, server)
    async with spread.client() as person:
        await looked(person, 3)
        for _ in range(3):
            redis_server.flush()
            await looked(person, 1)
        await asyncio.to_thread(redis_server.restart)
        await looked(person, 4)  # more looks than it takes to miss one that is gone
        server.clear_faults()
        task = await (await person.task(task_id)).settled(timeout=60)
        assert (task.state, task.crashes) == (State.REVIEW, 0)
        assert await person.services.events.read(0, limit=2000, kinds=["worker.lost"]) == []
