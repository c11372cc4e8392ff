"""SIGKILL at every transition of a worker: the task ends once, nothing is paid or done twice, nothing is lost."""

from __future__ import annotations

import signal

import pytest
from tests.fleet.scene import CHECK, JOURNALED, LOG, STEPS, Scene, Zygote, git, kinds

from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet, TaskHandle

PLACES = [
    "run.claimed",
    "model.before",
    "model.before@3",
    "model.after",
    "model.after@2",
    "tool.before",
    "tool.mid",
    "tool.mid@2",
    "tool.after",
    "tool.after@3",
    "check.mid",
    "run.commit",
    "run.committed",
    "run.finish",
    "run.finished",
]
ON_POSTGRESQL = ["tool.mid@2", "run.committed", "run.finished"]


async def submitted(scene: Scene) -> str:
    async with scene.client() as fleet:
        return (await fleet.submit("Write the log.", scene.repo, title="Write the log", checks=(CHECK,))).id


async def assert_done_once(scene: Scene, server: ModelServer, fleet: Fleet, handle: TaskHandle, *, lost: int) -> None:
    """The task ended once, with one change that holds every byte, and nothing was paid or done twice."""
    task = await handle.settled(timeout=60)
    assert task.state is State.REVIEW, task.reason
    assert (task.attempts, task.crashes) == (1, min(lost, 1)), "each of them had made a step more"
    assert task.steps == JOURNALED
    events = await fleet.services.events.read(0, limit=1000, task_id=task.id)
    assert kinds(events).count("task.review") == 1
    assert kinds(events).count("task.claimed") == 1 + lost
    assert kinds(events).count("run.step") == JOURNALED

    assert task.change is not None
    assert task.change.published, task.change.note
    assert [(check.command, check.ok) for check in task.change.checks] == [(CHECK, True)]
    assert scene.branches() == [f"ezaigent/{task.id}", "main"]
    assert scene.branch(task.id) == {"README.md": "# Project\n", "log.txt": LOG, "note.txt": "a note\n"}
    assert git(scene.repo, "rev-list", "--count", f"main..ezaigent/{task.id}") == "1"
    assert git(scene.repo, "rev-parse", f"ezaigent/{task.id}") == task.change.commit
    assert git(scene.repo, "status", "--porcelain") == ""

    assert server.repeated() == {}, "a finished model call was paid twice"
    finished = [record for record in server.requests if record.complete]
    assert len(finished) == len(STEPS)
    view = await handle.view()
    assert view.usage.output_tokens == sum(record.output_tokens for record in finished)


async def cut_off(server: ModelServer) -> None:
    """Wait until the model's server has seen that its last caller is gone."""
    await server.wait_until(lambda records: records[-1].outcome == "cut")


@pytest.mark.parametrize("place", PLACES)
async def test_a_killed_worker_costs_nothing(workers: Zygote, scene: Scene, server: ModelServer, place: str) -> None:
    task = await submitted(scene)
    name, _, count = place.partition("@")
    first = workers.worker(scene, EZAIGENT_FAILPOINTS=f"{name}=kill@{count or 1}")
    assert await first.ended() == -signal.SIGKILL, first.said

    async with scene.working() as fleet:
        lost = 0 if name == "run.finished" else 1
        await assert_done_once(scene, server, fleet, await fleet.task(task), lost=lost)


async def test_a_worker_killed_while_the_model_thinks(workers: Zygote, scene: Scene, server: ModelServer) -> None:
    server.fail(Fault("hang", step=2))
    task = await submitted(scene)
    first = workers.worker(scene)
    await server.wait_until(lambda records: len(records) == 3)
    first.send(signal.SIGKILL)
    assert await first.ended() == -signal.SIGKILL
    await cut_off(server)
    server.clear_faults()

    async with scene.working() as fleet:
        await assert_done_once(scene, server, fleet, await fleet.task(task), lost=1)


async def test_a_task_whose_workers_die_one_after_the_other(workers: Zygote, scene: Scene, server: ModelServer) -> None:
    task = await submitted(scene)
    for place in ("tool.mid", "model.after", "run.committed"):
        killed = workers.worker(scene, EZAIGENT_FAILPOINTS=f"{place}=kill")
        assert await killed.ended() == -signal.SIGKILL, killed.said

    async with scene.working() as fleet:
        await assert_done_once(scene, server, fleet, await fleet.task(task), lost=3)


@pytest.mark.parametrize("delivered", [False, True])
async def test_a_message_outlives_the_worker(
    workers: Zygote, scene: Scene, server: ModelServer, *, delivered: bool
) -> None:
    """Sent while the model thinks, before the worker is killed: the next run hears it, once, in its place."""
    server.fail(Fault("hang", step=1))
    task = await submitted(scene)
    first = workers.worker(scene)
    await server.wait_until(lambda records: len(records) == 2)
    async with scene.client() as person:
        await person.message("claude-1", "Mind the gap.", by="Ada")
        if delivered:
            server.clear_faults()
            server.fail(Fault("hang", step=2))
            await server.wait_until(lambda records: len(records) == 3)
        first.send(signal.SIGKILL)
        assert await first.ended() == -signal.SIGKILL
        told = await person.services.events.read(0, limit=1000, task_id=task)
        assert kinds(told).count("run.message") == delivered
    await cut_off(server)
    server.clear_faults()

    async with scene.working() as fleet:
        state = (await (await fleet.task(task)).settled(timeout=60)).state
        assert state is State.REVIEW
        told = await fleet.services.events.read(0, limit=1000, task_id=task)
        assert kinds(told).count("run.message") == 1
    heard = ["\n".join(message.text for message in turn.messages).count("Mind the gap.") for turn in server.turns]
    assert heard[-1] == 1
    assert max(heard) == 1
    assert server.repeated() == {}


@pytest.mark.postgres
@pytest.mark.parametrize("place", ON_POSTGRESQL)
async def test_a_killed_worker_on_postgresql(
    workers: Zygote, postgres_scene: Scene, server: ModelServer, place: str
) -> None:
    task = await submitted(postgres_scene)
    name, _, count = place.partition("@")
    first = workers.worker(postgres_scene, EZAIGENT_FAILPOINTS=f"{name}=kill@{count or 1}")
    assert await first.ended() == -signal.SIGKILL, first.said

    async with postgres_scene.working() as fleet:  # after the dead worker's lease
        lost = 0 if name == "run.finished" else 1
        await assert_done_once(postgres_scene, server, fleet, await fleet.task(task), lost=lost)
