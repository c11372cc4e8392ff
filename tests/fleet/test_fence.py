"""A worker held by SIGSTOP beyond its lease: another one takes over, and every late write of the first is refused."""

from __future__ import annotations

import signal

import pytest
from tests.fleet.scene import CHECK, LOG, STEPS, Process, Scene, Zygote, git, kinds
from tests.services import until

from ezaigent.core.change import Change
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet

REFUSED = "another run owns the task now"


async def held(workers: Zygote, scene: Scene, place: str) -> tuple[str, Process]:
    """Submit a task and let a worker run into SIGSTOP at ``place``."""
    async with scene.client() as fleet:
        task = await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))
    first = workers.worker(scene, EZAIGENT_FAILPOINTS=place.replace("@", "=stop@"))
    await first.stopped()
    return task.id, first


async def finished_by_another(fleet: Fleet, task_id: str) -> Change:
    """Wait for the end of the task in ``fleet``."""
    handle = await fleet.task(task_id)
    change = await handle.wait(timeout=60)
    assert (await handle.get()).worker == (fleet.worker.info.id if fleet.worker else None)
    return change


async def assert_one_change(scene: Scene, fleet: Fleet, task_id: str, change: Change) -> None:
    task = await fleet.services.queue.get(task_id)
    assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 1)
    assert task.change == change
    assert scene.branches() == [f"ezaigent/{task_id}", "main"]
    assert git(scene.repo, "rev-parse", f"ezaigent/{task_id}") == change.commit
    assert scene.branch(task_id)["log.txt"] == LOG
    told = kinds(await fleet.services.events.read(0, limit=1000, task_id=task_id))
    assert told.count("task.review") == 1
    assert told.count("task.lease_expired") == 1


@pytest.mark.parametrize("place", ["tool.mid@2", "run.commit@1", "run.finish@1"])
async def test_the_late_writes_of_a_frozen_worker_are_refused(
    workers: Zygote, scene: Scene, server: ModelServer, place: str
) -> None:
    task_id, first = await held(workers, scene, place)
    async with scene.working() as fleet:
        change = await finished_by_another(fleet, task_id)
        first.send(signal.SIGCONT)
        await until(lambda: first.logged(REFUSED), within=30, what="the late write is refused")
        await assert_one_change(scene, fleet, task_id, change)
    assert server.repeated() == {}
    assert len([record for record in server.requests if record.complete]) == len(STEPS)

    first.send(signal.SIGTERM)
    assert await first.ended(within=20) == 0, first.said
    assert "Traceback" not in first.said


async def test_a_frozen_worker_wakes_while_the_other_is_at_work(
    workers: Zygote, scene: Scene, server: ModelServer
) -> None:
    task_id, first = await held(workers, scene, "tool.mid@2")
    server.fail(Fault("hang", step=2))
    async with scene.working() as fleet:
        await server.wait_until(lambda records: len(records) == 3)
        first.send(signal.SIGCONT)
        await until(lambda: first.logged(REFUSED), within=30, what="the late write is refused")
        server.clear_faults()
        change = await finished_by_another(fleet, task_id)
        await assert_one_change(scene, fleet, task_id, change)
    assert server.repeated() == {}


@pytest.mark.postgres
async def test_the_fence_on_postgresql(workers: Zygote, postgres_scene: Scene, server: ModelServer) -> None:
    task_id, first = await held(workers, postgres_scene, "model.after@2")
    async with postgres_scene.working() as fleet:
        change = await finished_by_another(fleet, task_id)
        first.send(signal.SIGCONT)
        await until(lambda: first.logged(REFUSED), within=30, what="the late write is refused")
        await assert_one_change(postgres_scene, fleet, task_id, change)
    assert server.repeated() == {}
