"""An empty quota or purse fails no task: all wait, and one agent finds out when the model answers again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.fleet.scene import CHECK, LOG, MODEL, Scene, Zygote
from tests.services import until

from ezaigent.agents import Blocked, Controls, Job, Outcome, Profile
from ezaigent.agents.governor import changes
from ezaigent.core.errors import ModelsParked
from ezaigent.store import emit
from ezaigent.tasks import Claim, Slot, State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet, TaskHandle, open_conductor, until_nobody_works

PROVIDER, _, NAME = MODEL.partition(":")
OTHER = "anthropic:claude-sonnet-5-5"


async def told(fleet: Fleet, *kinds: str) -> list[str]:
    """Return the kinds of these events so far, in order."""
    return [event.kind for event in await fleet.services.events.read(0, limit=5000) if event.kind in kinds]


async def all_wait(fleet: Fleet, handles: list[TaskHandle]) -> None:
    """Wait until the pool is parked and nobody works."""

    async def idle() -> bool:
        assert fleet.worker is not None
        return bool(await told(fleet, "model.parked")) and not fleet.worker.busy

    await until(idle, within=60, what="the pool is parked")
    tasks = [await handle.get() for handle in handles]
    assert [task.state for task in tasks] == [State.QUEUED] * len(tasks), [task.reason for task in tasks]


@pytest.mark.parametrize("kind", ["quota", "billing"])
async def test_the_end_of_a_quota_fails_no_task(scene: Scene, server: ModelServer, kind: str) -> None:
    server.fail(Fault("quota" if kind == "quota" else "billing", step=1, times=None))
    async with scene.working() as fleet:
        handles = [await fleet.submit(f"Write the log {n}.", scene.repo, checks=(CHECK,)) for n in range(6)]
        await all_wait(fleet, handles)
        assert len(server.requests) == 2, "one answer, one refusal, and nobody asks again"
        server.clear_faults()
        data = {"provider": PROVIDER, "model": NAME}
        [parked] = [event for event in await fleet.services.events.read(0, limit=5000) if event.kind == "model.parked"]
        data |= {"account": parked.data["account"]}
        await fleet.services.db.write(lambda conn: emit(conn, "model.unparked", data=data))  # as another worker would
        for handle in handles:
            task = await handle.settled(timeout=120)
            assert (task.state, task.attempts) == (State.REVIEW, 1), task.reason
            assert scene.branch(task.id)["log.txt"] == LOG
    assert server.repeated() == {}, "the run that was given back went on where it was"


async def test_one_agent_at_a_time_finds_out_when_the_quota_is_back(
    scene: Scene, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "FIRST_PARK", 0.5)
    server.fail(Fault("quota", times=3))
    async with scene.working({"claude": 3}) as fleet:
        handles = [await fleet.submit("Write the log 0.", scene.repo, checks=(CHECK,))]

        async def given_back() -> bool:
            return bool(await told(fleet, "task.requeued"))

        await until(given_back, within=60, what="the pool is parked")
        handles += [await fleet.submit(f"Write the log {n}.", scene.repo, checks=(CHECK,)) for n in range(1, 6)]
        for handle in handles:
            task = await handle.settled(timeout=120)
            assert (task.state, task.attempts) == (State.REVIEW, 1), task.reason
        news = Counter(await told(fleet, "model.parked", "model.still_parked", "model.unparked", "task.requeued"))
        assert news["task.requeued"] == 3, "nobody but the one that asked was turned away"
        assert (news["model.parked"], news["model.still_parked"], news["model.unparked"]) == (1, 2, 1)


async def test_others_take_what_they_can_and_people_see_what_waits(
    scene: Scene, server: ModelServer, workers: Zygote
) -> None:
    scene.more = {
        "profiles": {
            "claude": {"model": MODEL},
            "spare": {"model": OTHER},
            "both": {"model": MODEL, "fallbacks": [OTHER]},
        }
    }
    server.fail(Fault("billing", model=NAME, times=None))
    async with scene.working({"claude": 1, "spare": 1, "both": 1}) as fleet:
        poor = await fleet.submit("Write the log.", scene.repo, profile="claude")
        await until(lambda: bool(fleet.worker and fleet.worker.info.parked), within=60, what="it says what is parked")
        any_agent = [await fleet.submit(f"Write the log {n}.", scene.repo, checks=(CHECK,)) for n in range(2)]
        two_models = await fleet.submit("Write the log.", scene.repo, profile="both", checks=(CHECK,))
        for handle in (*any_agent, two_models):
            assert (await handle.settled(timeout=120)).state is State.REVIEW
        assert "claude-1" not in {(await handle.get()).agent for handle in any_agent}

        task = await poor.get()
        assert (task.state, task.attempts) == (State.QUEUED, 1)
        why = await fleet.services.queue.why(poor.id)
        assert why.startswith("is queued for an agent of profile 'claude', but claude-1 is parked (billing): ")
        assert "; asked again at 20" in why
        views = {view.name: view.parked for view in await fleet.agents()}
        assert (views["spare-1"], views["both-1"]) == (None, None)
        assert (views["claude-1"] or "").startswith("parked (billing): ")
        status = workers.command(scene, "status")
        assert await status.ended() == 0
        assert "claude: parked (billing): " in " ".join(status.said.split())

        said: list[str] = []
        waiting = asyncio.create_task(until_nobody_works(poor, fleet.services, said.append))
        await until(lambda: bool(said), within=60, what="whoever waits is told")
        waiting.cancel()
        assert said[0].startswith(f"{poor.id} is queued for an agent of profile 'claude', but claude-1 is parked ")
    assert sum(record.model == NAME for record in server.requests) == 1


class Halfway:
    """A runtime whose runs find their models parked."""

    def __init__(self, blocked: Blocked | None) -> None:
        self._blocked = blocked

    def blocked(self, profile: Profile) -> Blocked | None:
        del profile
        return self._blocked

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        raise AssertionError(kind, data)

    async def checkpoint(self, claim: Claim) -> str | None:
        del claim
        raise ModelsParked("no model answered")

    async def run(self, job: Job) -> Outcome:
        raise AssertionError(job)


async def test_a_run_left_with_parked_models_only_goes_on_later_where_its_profile_has_others(scene: Scene) -> None:
    async with scene.client() as fleet, open_conductor(fleet.services) as conductor:
        queue = fleet.services.queue
        handle = await fleet.submit("Write the log.", scene.repo, profile="claude", max_attempts=1)
        (claim,) = await queue.claim("elsewhere", [Slot(agent="claude-1", profile="claude")])
        await replace(conductor, runtime=Halfway(None)).conduct(claim, Controls())
        task = await handle.get()
        assert (task.state, task.attempts, task.reason) == (State.WAITING, 1, "no model answered")
        assert (await queue.why(task.id)).endswith(" to go on where it was: no model answered")
        await queue.retry(task.id, by="me")
        (again,) = await queue.claim("elsewhere", [Slot(agent="claude-1", profile="claude")])
        assert (again.resumed, again.task.attempts) == (True, 1)


async def test_a_run_that_passes_over_the_model_to_find_out_about_is_not_begun_again_at_once(scene: Scene) -> None:
    """Else the one agent that may find out would begin it again and again, without ever asking."""
    slot, trial = Slot(agent="claude-1", profile="claude"), Blocked("parked", None, trial=True)
    async with scene.client() as fleet, open_conductor(fleet.services) as conductor:
        queue = fleet.services.queue
        handle = await fleet.submit("Write the log.", scene.repo, profile="claude")
        finding_out = replace(conductor, runtime=Halfway(trial))
        (claim,) = await queue.claim("elsewhere", [slot])
        await finding_out.conduct(claim, Controls())
        assert (await handle.get()).state is State.QUEUED, "it asks the model, which was found to be parked still"
        for _ in range(3):
            (claim,) = await queue.claim("elsewhere", [slot])
            await queue.stalled(claim, "no step", ("resume", "elsewhere", "the next model"))
        (claim,) = await queue.claim("elsewhere", [slot])
        await finding_out.conduct(claim, Controls())
        task = await handle.get()
        assert (task.state, task.attempts) == (State.WAITING, 1)
