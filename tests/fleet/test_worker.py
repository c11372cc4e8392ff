"""A worker in this process: draining, cancelling, pausing, and tasks that cannot be done."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.fleet.scene import CHECK, LOG, Scene, kinds, make_repository
from tests.services import until

from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer, ToolCall, from_steps
from ezaigent.wiring import Fleet, somebody_works, work_alone


async def running(fleet: Fleet, server: ModelServer, requests: int) -> None:
    await server.wait_until(lambda records: len(records) >= requests)
    assert fleet.worker is not None
    assert fleet.worker.busy == 1


async def test_stopping_lets_the_running_task_finish_and_claims_no_other(scene: Scene, server: ModelServer) -> None:
    server.fail(Fault("hang", step=1))
    async with scene.working() as fleet:
        first = await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))
        await running(fleet, server, 2)
        second = await fleet.submit("Write it again.", scene.repo)
        assert fleet.worker is not None
        fleet.worker.stop()
        server.clear_faults()
        await fleet.join()
        assert (await first.get()).state is State.REVIEW
        assert (await second.get()).state is State.QUEUED


async def test_past_the_deadline_a_run_goes_back_with_its_journal(scene: Scene, server: ModelServer) -> None:
    scene.more = {"fleet": {"drain": 0}}
    server.fail(Fault("hang", step=2))
    async with scene.working() as fleet:
        handle = await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))
        await running(fleet, server, 3)
        assert fleet.worker is not None
        fleet.worker.stop()
        fleet.worker.abort()  # the model hangs: the step cannot be awaited
        await fleet.join()
        assert (await handle.get()).state is State.QUEUED
    server.clear_faults()
    async with scene.working() as fleet:
        task = await (await fleet.task(handle.id)).settled(timeout=60)
        assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 0)
        assert scene.branch(task.id)["log.txt"] == LOG
    assert server.repeated() == {}


async def test_a_person_elsewhere_cancels_a_running_task(scene: Scene, server: ModelServer) -> None:
    server.fail(Fault("hang", step=1))
    async with scene.working() as fleet, scene.client() as person:
        handle = await person.submit("Write the log.", scene.repo)
        await running(fleet, server, 2)
        await handle.cancel(by="me")
        task = await handle.settled(timeout=5)
        assert (task.state, task.reason) == (State.CANCELLED, "cancelled by me")


async def test_a_person_elsewhere_pauses_and_resumes_an_agent(scene: Scene, server: ModelServer) -> None:
    async with scene.working() as fleet, scene.client() as person:
        await person.steer("pause", "claude", by="me")
        assert fleet.worker is not None
        worker = fleet.worker
        await until(lambda: "claude-1" in worker._paused, within=5)  # pyright: ignore[reportPrivateUsage]
        handle = await person.submit("Write the log.", scene.repo)
    async with scene.working() as fleet, scene.client() as person:
        assert [view.status for view in await person.agents()] == ["paused"]
        assert (await person.task(handle.id)) is not None
        assert server.requests == []
        await person.steer("resume", "claude-1", by="me")
        handle = await person.task(handle.id)
        assert (await handle.settled(timeout=60)).state is State.REVIEW


async def test_a_repository_that_vanished_fails_the_task_in_one_line(scene: Scene) -> None:
    async with scene.client() as person:
        handle = await person.submit("Write the log.", scene.repo, max_attempts=1)
    shutil.rmtree(scene.repo)
    async with scene.working() as fleet:
        task = await (await fleet.task(handle.id)).settled(timeout=60)
    assert task.state is State.FAILED
    assert str(scene.repo) in task.reason
    assert "\n" not in task.reason


async def test_a_change_outside_its_scope_is_no_change(scene: Scene) -> None:
    async with scene.working() as fleet:
        handle = await fleet.submit("Write.", scene.repo, scope=("docs/**",), max_attempts=1)
        task = await handle.settled(timeout=60)
        assert task.state is State.FAILED
        assert "outside" in task.reason
    assert scene.branches() == ["main"]


async def test_a_task_starts_from_the_changes_of_those_it_needs(tmp_path: Path) -> None:
    async with ModelServer(from_steps([ToolCall("shell", {"command": "echo more >> log.txt"}), "Done."])) as server:
        scene = Scene(tmp_path / "home", make_repository(tmp_path / "repo", {"log.txt": "start\n"}), server)
        async with scene.working() as fleet:
            first = await fleet.submit("One.", scene.repo)
            second = await fleet.submit("Two.", scene.repo, needs=[first])
            change = await second.wait(timeout=60)
            assert change.base == (await first.wait()).commit
            assert scene.branch(second.id)["log.txt"] == "start\nmore\nmore\n"
            told = kinds(await fleet.services.events.read(0, limit=1000, task_id=second.id))
            assert "task.queued" in told


async def test_a_task_is_worked_alone_where_nobody_works(scene: Scene) -> None:
    async with scene.client() as person:
        assert not await somebody_works(person.services, None)
        other = await person.submit("Not this one.", scene.repo)
        mine = await person.submit("This one.", scene.repo, profile="claude")
        async with work_alone(scene.settings, mine.id, "claude") as alone:
            assert not await somebody_works(person.services, "claude"), "it takes nothing from the queue"
            assert alone.worker is not None
            assert alone.worker.info.exclusive
            assert (await mine.settled(timeout=60)).state is State.REVIEW
        assert (await other.get()).state is State.QUEUED
        async with scene.working({"mechanic": 1}):
            assert await somebody_works(person.services, "mechanic")
            assert not await somebody_works(person.services, "claude")
