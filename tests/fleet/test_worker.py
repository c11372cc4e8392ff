"""A worker in this process: draining, cancelling, pausing, and tasks that cannot be done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fleet.scene import CHECK, LOG, MODEL, Scene, git, kinds, make_repository
from tests.services import until

from ezaigent import workspaces
from ezaigent.agents import Blocked, Controls, Job, Outcome, Profile
from ezaigent.core.errors import SandboxUnavailable, StoreUnavailable, UnavailableError
from ezaigent.tasks import Claim, NewTask, Slot, State
from ezaigent.testing import Fault, ModelServer, ToolCall, from_steps
from ezaigent.wiring import Fleet, open_conductor, somebody_works, work_alone
from ezaigent.workspaces import Sandbox

FALLBACK = "anthropic:claude-sonnet-5-5"
EXTRA: dict[str, Any] = {"expert": {"model": MODEL}}


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


async def test_needs_that_contradict_each_other_fail_the_task_and_nothing_else(tmp_path: Path) -> None:
    script = from_steps([ToolCall("shell", {"command": "head -c 16 /dev/urandom | od -x > log.txt"}), "Done."])
    async with ModelServer(script) as server:
        scene = Scene(tmp_path / "home", make_repository(tmp_path / "repo", {"log.txt": "start\n"}), server)
        async with scene.working() as fleet:
            first = await fleet.submit("One.", scene.repo)
            second = await fleet.submit("Two.", scene.repo, needs=())
            both = await fleet.submit("Three.", scene.repo, needs=[first, second])
            task = await both.settled(timeout=60)
            assert (task.state, task.attempts) == (State.FAILED, 1), "another attempt would meet the same conflict"
            assert "both change log.txt" in task.reason
            assert "\n" not in task.reason
            for handle in (first, second):
                change = await handle.wait()
                assert scene.branch(handle.id)["log.txt"] != "start\n"
                assert git(scene.repo, "rev-parse", f"ezaigent/{handle.id}") == change.commit
        assert f"ezaigent/{both.id}" not in scene.branches()
        assert len(server.requests) == 4, "no model was asked for what cannot be"


async def test_a_profile_that_the_worker_does_not_know_is_left_to_one_that_does(scene: Scene) -> None:
    knowing = Scene(scene.home, scene.repo, scene.server, more={"profiles": {"claude": {"model": MODEL}} | EXTRA})
    async with knowing.client() as person:
        handle = await person.submit("Write the log.", scene.repo, profile="expert")
        async with scene.working() as fleet:
            other = await fleet.submit("Write the log.", scene.repo)
            assert (await other.settled(timeout=60)).state is State.REVIEW
            assert (await handle.get()).state is State.QUEUED
            why = await fleet.services.queue.why(handle.id)
            assert why.endswith("start one with ezaigent worker --pools expert")
        async with knowing.working({"expert": 1}):
            assert (await handle.settled(timeout=60)).state is State.REVIEW


async def test_a_claim_for_an_unknown_profile_fails_in_one_line_that_says_what_to_do(scene: Scene) -> None:
    async with scene.working() as fleet:
        assert fleet.worker is not None
        conductor = fleet.worker._conductor  # pyright: ignore[reportPrivateUsage]
        handle = await fleet.submit("Write the log.", scene.repo, not_before=time.time() + 3600)
        queue = fleet.services.queue
        other = await queue.submit(NewTask(prompt="Do it.", repo=str(scene.repo), profile="expert"))
        (claim,) = await queue.claim("elsewhere", [Slot(agent="expert-1", profile="expert")])
        await conductor.conduct(claim, Controls())
        task = await queue.get(other.id)
        assert (task.state, task.attempts) == (State.FAILED, 1)
        assert task.reason == "no profile 'expert'; add [profiles.expert] or submit with another one"
        assert (await handle.get()).state is State.WAITING


async def test_the_commit_names_the_models_that_answered(scene: Scene, server: ModelServer) -> None:
    scene.more = {"profiles": {"claude": {"model": MODEL, "fallbacks": [FALLBACK]}}}
    server.fail(Fault("billing", model=MODEL.partition(":")[2], step=2))
    async with scene.working({"claude": 1}) as fleet:
        change = await (await fleet.submit("Write the log.", scene.repo)).wait(timeout=60)
    assert git(scene.repo, "show", "-s", "--format=%(trailers:key=Model,valueonly)", change.commit) == (
        f"{MODEL}, {FALLBACK}"
    )


async def test_a_failure_is_the_stores_only_when_the_store_says_so(scene: Scene) -> None:
    """An error that merely names the database's file counts as a failed attempt; an outage of the store does not."""

    class Failing:
        def __init__(self, error: UnavailableError) -> None:
            self.error = error

        def blocked(self, profile: Profile) -> Blocked | None:
            raise AssertionError(profile)

        def hear(self, kind: str, data: Mapping[str, Any]) -> None:
            raise AssertionError(kind, data)

        async def checkpoint(self, claim: Claim) -> str | None:
            raise self.error

        async def run(self, job: Job) -> Outcome:
            raise AssertionError(job)

    async with scene.client() as fleet, open_conductor(fleet.services) as conductor:
        queue, where = fleet.services.queue, fleet.services.db.where
        for error, state in (
            (StoreUnavailable("the disk is away"), State.QUEUED),
            (UnavailableError(f"{where} is no repository"), State.FAILED),
        ):
            new = await queue.submit(NewTask(prompt="Do it.", repo=str(scene.repo), profile="gpt", max_attempts=1))
            (claim,) = await queue.claim("elsewhere", [Slot(agent="gpt-1", profile="gpt")])
            await replace(conductor, runtime=Failing(error)).conduct(claim, Controls())
            task = await queue.get(new.id)
            assert task.state is state, task.reason
            if not state.settled:
                await queue.cancel(new.id, by="me")


async def test_a_change_can_be_looked_at_where_no_sandbox_works(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene.working() as fleet:
        handle = await fleet.submit("Write the log.", scene.repo)
        await handle.wait(timeout=60)

    async def none_works(*_: object, **__: object) -> Sandbox:
        raise SandboxUnavailable("none works here")

    monkeypatch.setattr(workspaces, "detect", none_works)
    async with scene.client() as person:
        handle = await person.task(handle.id)
        assert "+a note" in await handle.diff()
        with pytest.raises(SandboxUnavailable, match="none works here"):
            await handle.merge(by="me")
    looking = workspaces.Workspaces(scene.home, scene.settings.workspaces, None)
    with pytest.raises(SandboxUnavailable, match="looking only"):
        await looking.open(task_id="t1", repo=str(scene.repo), base=None)


async def test_a_missing_key_ends_the_task_at_once_and_says_what_to_set(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    scene.more = {"profiles": {"claude": {"model": "openai:gpt-6.1-sol"}}}
    async with scene.working() as fleet:
        handle = await fleet.submit("Write the log.", scene.repo)
        task = await handle.settled(timeout=30)
        assert (task.state, task.attempts) == (State.FAILED, 1), "another attempt would miss it, too"
        assert task.reason == "no key for provider 'openai'; set OPENAI_API_KEY, then retry the task"
