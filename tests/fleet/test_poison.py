"""A task under which workers die: it is tried alone; only where it kills that process, too, it is quarantined."""

from __future__ import annotations

import signal

import psutil
import pytest
from tests.fleet.scene import CHECK, LOG, Scene, Zygote
from tests.services import until

from ezaigent.core.events import Event
from ezaigent.tasks import State, Task
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet

POISON = "model.before=kill"


async def submitted(scene: Scene) -> str:
    async with scene.client() as fleet:
        return (await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))).id


async def kill_two(workers: Zygote, scene: Scene) -> None:
    """Let two workers die under the task, at its first model call."""
    for _ in range(2):
        worker = workers.worker(scene, EZAIGENT_FAILPOINTS=POISON)
        assert await worker.ended() == -signal.SIGKILL, worker.said


async def settled(fleet: Fleet, task: str) -> Task:
    return await (await fleet.task(task)).settled(timeout=60)


async def acted(fleet: Fleet, task: str) -> list[tuple[str, str]]:
    events: list[Event] = await fleet.services.events.read(0, 1000, task_id=task, kinds=["recovery.acted"])
    return [(event.data["what"], event.data["action"]) for event in events]


async def test_what_kills_two_workers_and_then_its_own_process_is_quarantined(workers: Zygote, scene: Scene) -> None:
    task = await submitted(scene)
    await kill_two(workers, scene)
    third = workers.worker(scene, EZAIGENT_FAILPOINTS=POISON)
    async with scene.client() as fleet:
        dead = await settled(fleet, task)
        assert (dead.state, dead.attempts, dead.crashes) == (State.FAILED, 1, 2)
        assert dead.reason.startswith("quarantined: 2 workers in a row died under it")
        assert "SIGKILL" in dead.reason
        assert await acted(fleet, task) == [
            ("poison suspected", "it runs in a process of its own"),
            ("poison", "dead letter"),
        ]
        await fleet.services.queue.retry(task, by="ann")
        assert (await fleet.services.queue.get(task)).crashes == 0
    assert not third.over, third.said


async def test_what_was_innocent_is_finished_alone(workers: Zygote, scene: Scene, server: ModelServer) -> None:
    task = await submitted(scene)
    await kill_two(workers, scene)
    async with scene.working() as fleet:
        done = await settled(fleet, task)
        assert (done.state, done.attempts, done.crashes) == (State.REVIEW, 1, 2), done.reason
        assert scene.branch(task)["log.txt"] == LOG
        assert len(await acted(fleet, task)) == 1
    assert server.repeated() == {}


@pytest.mark.parametrize("ending", ["killed", "drained"])
async def test_the_process_ends_with_its_worker_and_says_nothing_against_the_task(
    workers: Zygote, scene: Scene, server: ModelServer, ending: str
) -> None:
    task = await submitted(scene)
    await kill_two(workers, scene)
    server.fail(Fault("hang", step=1))
    third = workers.worker(scene, EZAIGENT_FLEET__DRAIN="0")
    await server.wait_until(lambda records: len(records) == 2)
    alone = psutil.Process(third.pid).children(recursive=True)
    assert any("ezaigent.wiring.apart" in " ".join(one.cmdline()) for one in alone)
    third.send(signal.SIGKILL if ending == "killed" else signal.SIGTERM)
    await third.ended()
    await until(lambda: not any(one.is_running() and one.status() != "zombie" for one in alone), within=20)
    server.clear_faults()
    async with scene.working() as fleet:
        done = await settled(fleet, task)
        assert done.state is State.REVIEW, done.reason
        assert scene.branch(task)["log.txt"] == LOG


async def test_a_person_pauses_resumes_and_cancels_a_task_that_runs_alone(
    workers: Zygote, scene: Scene, server: ModelServer
) -> None:
    task = await submitted(scene)
    await kill_two(workers, scene)
    server.fail(Fault("hang", step=1))
    workers.worker(scene)
    async with scene.client() as fleet:
        await server.wait_until(lambda records: len(records) == 2)
        await fleet.steer("pause", "claude-1", by="ann")
        await fleet.steer("resume", "claude-1", by="ann")
        await fleet.services.queue.cancel(task, by="ann")
        assert (await settled(fleet, task)).state is State.CANCELLED
