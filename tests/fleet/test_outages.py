"""Redis killed and flushed, PostgreSQL restarted, in mid-run: nothing is lost, and the work goes on."""

from __future__ import annotations

import asyncio
import signal

import pytest
from tests.fleet.scene import CHECK, LOG, STEPS, Scene, Zygote
from tests.services import PostgresServer, RedisServer, until

from ezaigent.agents import Controls, build_runtime, load_profiles
from ezaigent.core.errors import UnavailableError
from ezaigent.core.settings import SandboxSettings, WorkspaceSettings
from ezaigent.costs import CostBook
from ezaigent.fleet import Conductor
from ezaigent.live import open_bus
from ezaigent.store import Database, EventLog
from ezaigent.tasks import NewTask, Slot, State, Task, TaskQueue
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Services, open_worker
from ezaigent.workspaces import Workspaces, detect

LOST = "the live bus cannot be reached"
BACK = "the live bus is back"


@pytest.mark.redis
async def test_redis_is_killed_in_mid_run_and_comes_back_empty(
    workers: Zygote, scene: Scene, server: ModelServer, redis_server: RedisServer, redis_database: str
) -> None:
    scene.redis = redis_database
    server.fail(Fault("hang", step=2))
    worker = workers.worker(scene)
    async with scene.client() as fleet:
        first = await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))
        await server.wait_until(lambda records: len(records) == 3)
        redis_server.kill()
        second = await fleet.submit("Write the log again.", scene.repo, checks=(CHECK,))
        server.clear_faults()
        for handle in (first, second):
            task = await handle.settled(timeout=60)
            assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 0), task.reason
            assert scene.branch(task.id)["log.txt"] == LOG
        await until(lambda: worker.logged(LOST), within=20, what="the loss is logged")

        redis_server.start()
        await until(lambda: worker.logged(BACK), within=30, what="the return is logged")
        third = await fleet.submit("Write the log once more.", scene.repo)
        assert (await third.settled(timeout=60)).state is State.REVIEW
    assert (worker.logged(LOST), worker.logged(BACK)) == (1, 1)
    worker.send(signal.SIGTERM)
    assert await worker.ended(within=20) == 0, worker.said


@pytest.mark.redis
async def test_redis_is_flushed_in_mid_run(
    workers: Zygote, scene: Scene, server: ModelServer, redis_server: RedisServer, redis_database: str
) -> None:
    scene.redis = redis_database
    server.fail(Fault("hang", step=1))
    worker = workers.worker(scene)
    async with scene.client() as fleet:
        first = await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))
        second = await fleet.submit("Write the log again.", scene.repo, checks=(CHECK,))
        await server.wait_until(lambda records: len(records) == 2)
        redis_server.flush()
        server.clear_faults()
        for handle in (first, second):
            task = await handle.settled(timeout=60)
            assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 0), task.reason
    assert worker.logged(LOST) == 0


@pytest.mark.postgres
async def test_postgresql_is_restarted_in_mid_run(
    workers: Zygote, postgres_scene: Scene, server: ModelServer, postgres_server: PostgresServer
) -> None:
    server.fail(Fault("hang", step=2))
    worker = workers.worker(postgres_scene)
    async with postgres_scene.client() as fleet:
        handle = await fleet.submit("Write the log.", postgres_scene.repo, checks=(CHECK,))
        await server.wait_until(lambda records: len(records) == 3)
        await asyncio.to_thread(postgres_server.restart)
        server.clear_faults()
        task = await handle.settled(timeout=60)
        assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 0), task.reason
        assert postgres_scene.branch(task.id)["log.txt"] == LOG
    assert server.repeated() == {}
    assert len([record for record in server.requests if record.complete]) == len(STEPS)
    worker.send(signal.SIGTERM)
    assert await worker.ended(within=20) == 0, worker.said


async def impatient(scene: Scene) -> Services:
    """Services whose store gives up on its server after a moment, not after half a minute."""
    assert scene.database is not None
    db = await Database.open(scene.database, patience=0.05)
    bus = await open_bus(None)
    settings = scene.settings
    costs = CostBook(db, settings.costs)
    queue = TaskQueue(db, settings.queue, bus)
    return Services(settings=settings, db=db, bus=bus, events=EventLog(db), queue=queue, costs=costs)


@pytest.mark.postgres
async def test_a_long_outage_of_postgresql_costs_no_attempt(
    postgres_scene: Scene, server: ModelServer, postgres_server: PostgresServer
) -> None:
    server.fail(Fault("hang", step=2))
    services = await impatient(postgres_scene)
    try:
        async with open_worker(services, {"claude": 1}) as worker:
            running = asyncio.create_task(worker.run())
            new = NewTask(prompt="Write the log.", repo=str(postgres_scene.repo), checks=(CHECK,))
            task = await services.queue.submit(new)
            await server.wait_until(lambda records: len(records) == 3)
            await asyncio.to_thread(postgres_server.kill)
            server.clear_faults()
            # The answer has come, and cannot be written down.
            await server.wait_until(lambda records: records[2].complete)
            await asyncio.to_thread(postgres_server.start)

            async def settled() -> bool:
                return (await services.queue.get(task.id)).state.settled

            await until(settled, within=60, what="the run goes on")
            worker.stop()
            await running
        task = await services.queue.get(task.id)
        assert (task.state, task.attempts) == (State.REVIEW, 1), task.reason
        assert postgres_scene.branch(task.id)["log.txt"] == LOG
        again = {record.step for records in server.repeated().values() for record in records}
        assert again <= {2}, "an answer that had been written down was asked for again"
    finally:
        await services.bus.close()
        await services.db.close()


@pytest.mark.postgres
async def test_how_a_run_ended_is_told_again_until_the_store_is_back(
    postgres_scene: Scene, postgres_server: PostgresServer
) -> None:
    services = await impatient(postgres_scene)
    try:
        await services.queue.submit(NewTask(prompt="Do it.", repo=str(postgres_scene.repo)))
        (claim,) = await services.queue.claim("worker", [Slot(agent="claude-1", profile="claude")])
        settings = postgres_scene.settings
        async with build_runtime(services.db, settings, services.costs, services.bus) as runtime:
            conductor = Conductor(
                db=services.db,
                queue=services.queue,
                workspaces=Workspaces(settings.home, WorkspaceSettings(), await detect(SandboxSettings())),
                runtime=runtime,
                costs=services.costs,
                profiles=load_profiles(settings),
                check_rounds=0,
                publish=False,
            )
            tries = 0

            async def end() -> Task:
                nonlocal tries
                tries += 1
                return await services.queue.finish(claim, None)

            await asyncio.to_thread(postgres_server.kill)
            telling = asyncio.create_task(conductor._settle(end, Controls()))  # pyright: ignore[reportPrivateUsage]
            await until(lambda: tries > 1, what="it is told again")

            stopping = Controls()
            stopping.drain()
            with pytest.raises(UnavailableError, match="the database"):
                await conductor._settle(end, stopping)  # pyright: ignore[reportPrivateUsage]

            await asyncio.to_thread(postgres_server.start)
            assert (await telling).state is State.DONE
    finally:
        await services.bus.close()
        await services.db.close()
