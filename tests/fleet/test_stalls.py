"""Runs that stand still or go in circles: each has one action, bounded, told with its reason; then the next rung."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fleet.scene import LOG, STEPS, Scene, kinds
from tests.services import until

from ezaigent.agents import Controls, load_profiles
from ezaigent.core.errors import Stalled
from ezaigent.core.settings import RecoverySettings
from ezaigent.fleet.recovery import ladder
from ezaigent.fleet.recovery.watch import PATIENCE, PERIOD, StallWatch
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer, ToolCall, from_steps
from ezaigent.wiring import Fleet

FIRST, SECOND, THIRD = "anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-5-5", "anthropic:claude-opus-5-5"


def looks(watch: StallWatch, controls: Controls, seconds: float) -> set[str]:
    given_up: set[str] = set()
    for _ in range(int(seconds / PERIOD)):
        given_up |= watch.look({"run": controls}, PERIOD)
    return given_up


def test_a_run_that_stands_still_is_stopped_with_the_reason() -> None:
    watch, controls = StallWatch(RecoverySettings(step=60), 600), Controls()
    looks(watch, controls, 60)
    assert controls.stopping is None
    with controls.progress.doing("model call"):
        looks(watch, controls, 600)
        assert controls.stopping is None, "a model call has a deadline of its own"
    looks(watch, controls, 60)
    assert controls.stopping is None, "the end of the call was progress"
    looks(watch, controls, 10)
    assert isinstance(controls.stopping, Stalled)
    assert str(controls.stopping) == "no step for 62 s"


def test_a_running_command_within_its_time_limit_is_progress() -> None:
    watch, controls = StallWatch(RecoverySettings(step=60), 600), Controls()
    with controls.progress.doing("checks", commands=2):
        looks(watch, controls, 1200)
        assert controls.stopping is None
        looks(watch, controls, 100)
    assert str(controls.stopping).endswith("s, in: checks")


def test_a_paused_run_and_a_watcher_that_stood_still_itself_stop_nothing() -> None:
    watch, controls = StallWatch(RecoverySettings(step=60), 600), Controls()
    controls.pause()
    looks(watch, controls, 1000)
    controls.resume()
    for _ in range(10):
        watch.look({"run": controls}, 3600.0)
    assert controls.stopping is None, "what passed while nobody looked counts for two periods at most"


def test_a_stopped_run_that_does_not_end_is_given_up() -> None:
    watch, controls = StallWatch(RecoverySettings(step=60), 600), Controls()
    looks(watch, controls, 64)
    assert controls.stopping is not None
    assert looks(watch, controls, PATIENCE - 4) == set()
    assert looks(watch, controls, 6) == {"run"}
    assert watch.look({}, PERIOD) == set()


def test_a_worker_leaves_a_task_to_the_others_for_a_while() -> None:
    now = 0.0
    elsewhere = ladder.Elsewhere(lambda: now)
    elsewhere.add("a")
    assert elsewhere.tasks() == ["a"]
    now = 31.0
    assert elsewhere.tasks() == []


def scene_with(scene: Scene, **recovery: Any) -> Scene:
    scene.more = {
        "recovery": {"step": 6, "model_call": 3, **recovery},
        "profiles": {"claude": {"model": FIRST, "fallbacks": [SECOND, THIRD]}},
    }
    return scene


async def acted(fleet: Fleet, task: str) -> list[tuple[str, str]]:
    events = await fleet.services.events.read(0, 1000, task_id=task, kinds=["recovery.acted"])
    assert all(event.data["reason"] for event in events)
    return [(event.data["what"], event.data["action"]) for event in events]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezaigent.fleet.recovery.watch.PERIOD", 0.2)
    monkeypatch.setattr(ladder, "_HANDOVER", 0.5)


@pytest.mark.usefixtures("quick")
async def test_a_run_that_stands_still_is_resumed_then_elsewhere_then_with_another_model(
    scene: Scene, server: ModelServer
) -> None:
    """The model never answers under its first name; all that was done before is kept."""
    server.fail(Fault("hang", step=1, times=3))
    async with scene_with(scene).working() as fleet:
        handle = await fleet.submit("Write the log.", scene.repo)
        task = await handle.settled(timeout=60)
        assert (task.state, task.attempts) == (State.REVIEW, 1), task.reason
        assert await acted(fleet, task.id) == [
            ("stalled", ladder.RESUME),
            ("stalled", ladder.ELSEWHERE),
            ("stalled", ladder.OTHER_MODEL),
        ]
        runs = await fleet.services.queue.runs(task.id)
        assert [run.outcome for run in runs] == ["stalled"] * 3 + ["review"]
        assert "no step for" in runs[0].reason
        told = await fleet.services.events.read(0, 1000, task_id=task.id, kinds=["run.failover"])
        assert [event.data["to"] for event in told] == [SECOND]
        assert scene.branch(task.id)["log.txt"] == LOG
    finished = [record for record in server.requests if record.complete]
    assert len(finished) == len(STEPS), "no finished call was asked for again"


@pytest.mark.usefixtures("quick")
async def test_what_stands_still_every_time_is_a_dead_letter_with_everything_kept(
    scene: Scene, server: ModelServer
) -> None:
    server.fail(Fault("hang", step=2, times=9))
    async with scene_with(scene).working() as fleet:
        handle = await fleet.submit("Write the log.", scene.repo)
        task = await handle.settled(timeout=60)
        assert task.state is State.FAILED
        assert task.reason.startswith("no step for")
        assert "for the 4th time" in task.reason
        assert (await acted(fleet, task.id))[-1] == ("stalled", "dead letter")
        assert "+first" in await handle.diff(), "the work is kept"
        server.clear_faults()
        await handle.retry(by="ann")
        assert (await handle.settled(timeout=60)).state is State.REVIEW


async def test_an_agent_that_goes_in_circles_gets_another_model_the_third_time(scene: Scene) -> None:
    circle = from_steps([ToolCall("shell", {"command": "true"})] * 40)
    async with ModelServer(circle) as server:
        scene.server = server
        scene.more = scene_with(scene).more | {"recovery": {}}
        async with scene.working() as fleet:
            handle = await fleet.submit("Write the log.", scene.repo)
            task = await handle.settled(timeout=90)
            assert (task.state, task.attempts) == (State.FAILED, 3)
            assert [run.outcome for run in await fleet.services.queue.runs(task.id)] == ["stuck"] * 3
            assert [action for _, action in await acted(fleet, task.id)] == ["it is tried again"] * 2 + ["dead letter"]
            events = await fleet.services.events.read(0, 1000, task_id=task.id)
            assert kinds(events).count("run.failover") == 1


def test_a_profile_without_another_model_has_a_rung_less() -> None:
    from pathlib import Path

    from ezaigent.core.settings import Settings

    profiles = load_profiles(Settings(home=Path("/nowhere")))
    assert ladder.rungs(profiles["mechanic"]) == (ladder.RESUME, ladder.ELSEWHERE)
    assert ladder.rungs(profiles["claude"])[-1] == ladder.OTHER_MODEL
    assert ladder.rungs(None) == (ladder.RESUME, ladder.ELSEWHERE)


async def test_a_look_at_the_queue_that_hangs_is_begun_anew(
    scene: Scene, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.more = {"recovery": {"look": 0.3}}
    async with scene.working() as fleet:
        claim, hangs = fleet.services.queue.claim, 2

        async def hanging(*args: Any, **options: Any) -> Any:
            nonlocal hangs
            if hangs:
                hangs -= 1
                await asyncio.sleep(3600)
            return await claim(*args, **options)

        monkeypatch.setattr(fleet.services.queue, "claim", hanging)
        handle = await fleet.submit("Write the log.", scene.repo)
        assert (await handle.settled(timeout=60)).state is State.REVIEW

        async def told() -> bool:
            return len(await fleet.services.events.read(0, 1000, kinds=["recovery.acted"])) == 2

        await until(told, what="it was told")
