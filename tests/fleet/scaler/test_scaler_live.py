"""``ezaigent up`` in processes of its own, with real runs against the scripted model."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fleet.scene import Process, Scene, Zygote, make_repository
from tests.services import until

from ezaigent.core.events import Event
from ezaigent.fleet import ScalerView
from ezaigent.tasks import NewTask, Priority, State
from ezaigent.testing import Conversation, Fault, ModelServer, Reply, Turn, from_steps
from ezaigent.wiring import Fleet, scaler_control

Up = Callable[..., Process]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A model that says that it is done."""
    async with ModelServer(from_steps(["All done."])) as started:
        yield started


@pytest.fixture
def scene(tmp_path: Path, server: ModelServer) -> Scene:
    return Scene(tmp_path / "home", make_repository(tmp_path / "repo"), server)


@pytest.fixture
def up(workers: Zygote, scene: Scene) -> Up:
    """Starts ``ezaigent up`` with more options and settings of ``[scaling]``, in JSON."""

    def start(*options: str, **values: Any) -> Process:
        own = {f"EZAIGENT_SCALING__{name.upper()}": str(value) for name, value in {"period": 0.5, **values}.items()}
        return workers.command(
            scene,
            *("up", *options, "--json"),
            EZAIGENT_SERVER__PORT="0",
            EZAIGENT_LAUNCHER__ROOM="1",
            **own,
        )

    return start


async def submit(fleet: Fleet, scene: Scene, count: int) -> None:
    new = [NewTask(prompt=f"Task {number}.", repo=str(scene.repo), profile="claude") for number in range(count)]
    await fleet.submit_many(new)


class Gates:
    """A model that answers at once, but whose prompt names a gate is answered once that gate is open."""

    def __init__(self, *names: str) -> None:
        self._gates = {name: asyncio.Event() for name in names}

    def open(self, name: str) -> None:
        self._gates[name].set()

    async def __call__(self, turn: Turn, conversation: Conversation) -> Reply:
        del conversation
        for name, gate in self._gates.items():
            if any(name in message.text for message in turn.messages):
                await gate.wait()
        return Reply("All done.")


async def view(fleet: Fleet) -> ScalerView:
    return await scaler_control(fleet.services).status()


async def told(fleet: Fleet, *kinds: str) -> list[Event]:
    return await fleet.services.events.read(0, 100_000, kinds=kinds)


async def agents(fleet: Fleet, count: int, *, within: float = 30) -> None:
    """Wait until so many agents of claude are ready and stay."""

    async def there() -> bool:
        found = [one for one in await fleet.agents() if one.profile == "claude"]
        return sum(one.status in ("active", "idle") for one in found) == count == len(found)

    await until(there, within=within, what=f"{count} agents")


async def settled(fleet: Fleet, count: int) -> None:
    async def all_done() -> bool:
        states = (await fleet.services.queue.stats()).states
        return states[State.DONE] == count

    await until(all_done, within=100, what=f"{count} tasks are done")


async def waits(fleet: Fleet, count: int) -> None:
    async def so_many() -> bool:
        return (await fleet.services.queue.stats()).states[State.QUEUED] == count

    await until(so_many, within=30, what=f"{count} tasks wait")


async def looks(fleet: Fleet, count: int = 3) -> None:
    """Wait until the autoscaler has looked so many more times."""
    seen: set[float] = set()

    async def more() -> bool:
        last = (await view(fleet)).pools[0].last
        if last is not None:
            seen.add(last.at)
        return len(seen) > count

    await until(more, within=30, what="looks of the autoscaler")


async def test_thirty_tasks_grow_the_fleet_and_their_end_shrinks_it(scene: Scene, up: Up, server: ModelServer) -> None:
    process = up(max=5, startup=1, keep=1)
    async with scene.client() as fleet:
        await process.ready()
        await agents(fleet, 1)
        assert server.requests == []
        await submit(fleet, scene, 30)
        await agents(fleet, 5)
        await settled(fleet, 30)
        await agents(fleet, 1)
        assert len(await told(fleet, "task.claimed")) == 30
        assert len(server.requests) == 30
        await looks(fleet)
        assert len(server.requests) == 30, "an empty queue costs nothing"
        process.send(signal.SIGINT)
        assert await process.ended() == 0
        assert await fleet.agents() == [], "what nobody hosts is not kept"
        assert (await view(fleet)).state == "no leader"


async def test_twenty_do_nothing_and_twenty_one_add_an_agent_then_it_drains(
    scene: Scene, up: Up, server: ModelServer
) -> None:
    server.fail(Fault("hang"))
    process = up(policy="threshold", cooldown=1)
    async with scene.client() as fleet:
        await process.ready()
        await submit(fleet, scene, 1)
        await server.wait_until(lambda records: len(records) >= 1)
        await submit(fleet, scene, 20)
        await waits(fleet, 20)
        await looks(fleet)
        assert (await view(fleet)).pools[0].target == 1
        await submit(fleet, scene, 1)
        await agents(fleet, 2)
        await waits(fleet, 20)
        server.clear_faults()
        await settled(fleet, 22)
        await agents(fleet, 1)
        assert await told(fleet, "task.requeued", "task.retrying", "task.failed", "task.lease_expired") == []
        sizes = [
            (one.data["before"], one.data["target"])
            for one in await told(fleet, "scaler.decided")
            if one.data["pool"] == "claude"
        ]
        assert (1, 2) in sizes
        assert sizes[-1] == (2, 1)


async def test_a_refusal_by_the_cooldown_is_in_the_history_and_holds_over_a_restart(
    scene: Scene, up: Up, workers: Zygote, server: ModelServer
) -> None:
    async def refusals() -> list[dict[str, Any]]:
        command = workers.command(scene, "scaler", "history", "--pool", "claude", "--json")
        assert await command.ended() == 0
        items: list[dict[str, Any]] = json.loads(command.said)["items"]
        return [one for one in items if one["binding"] == "cooldown"]

    async def refused() -> bool:
        last = (await view(fleet)).pools[0].last
        return last is not None and last.binding == "cooldown"

    server.fail(Fault("hang", times=None))
    first = up(policy="threshold", cooldown=300)
    async with scene.client() as fleet:
        await first.ready()
        await submit(fleet, scene, 22)
        await agents(fleet, 2)
        await submit(fleet, scene, 30)
        await until(refused, within=60, what="three agents are refused")
        (before,) = await refusals()
        assert (before["before"], before["target"], before["wanted"]) == (2, 2, 2)
        assert "s of the 300 s cooldown are left" in before["reason"]
        leader = (await view(fleet)).leader

        first.send(signal.SIGKILL)
        await first.ended()
        second = up(policy="threshold", cooldown=300)
        await second.ready()
        await until(lambda: _led_by_another(fleet, leader), within=60, what="the new one leads")
        await agents(fleet, 2, within=60)
        await looks(fleet)
        assert await refused(), "the new one refuses it, too"
        assert await refusals() == [before], "the same refusal again is no new record"
        assert (await view(fleet)).pools[0].target == 2

        command = workers.command(scene, "scaler", "config", "cooldown=0")
        assert await command.ended() == 0
        await agents(fleet, 3, within=60)


async def test_a_depth_of_four_drains_to_min_and_interrupts_no_task(scene: Scene, up: Up, server: ModelServer) -> None:
    server.script = gates = Gates("Long 0", "Long 1", "Long 2")
    process = up(policy="threshold", cooldown=1, max=3)
    async with scene.client() as fleet:
        await process.ready()
        long = [
            NewTask(prompt=f"Long {number}.", repo=str(scene.repo), profile="claude", priority=Priority.HIGH)
            for number in range(3)
        ]
        await fleet.submit_many(long)
        short = [NewTask(prompt=f"Short {n}.", repo=str(scene.repo), profile="claude") for n in range(40)]
        handles = await fleet.submit_many(short)
        await agents(fleet, 3)
        await server.wait_until(lambda records: len(records) == 3)
        for handle in handles[4:]:
            await handle.cancel(by="me")
        await waits(fleet, 4)
        await looks(fleet, 5)
        seen = (await view(fleet)).pools[0]
        assert (seen.queued, seen.busy, seen.target) == (4, 3, 3), "who has a task stays"

        gates.open("Long 0")
        await agents(fleet, 2, within=60)
        await looks(fleet)
        seen = (await view(fleet)).pools[0]
        assert (seen.busy, seen.idle, seen.target) == (2, 0, 2), "who was idle went, and nobody else"
        gates.open("Long 1")
        gates.open("Long 2")
        await agents(fleet, 1)
        await settled(fleet, 7)
        cut_off = ("task.requeued", "task.retrying", "task.failed", "task.lease_expired")
        assert await told(fleet, *cut_off) == []
        assert len(await told(fleet, "task.claimed")) == len(server.requests) == 7, "each was worked once"
        made = await scaler_control(fleet.services).history(pool="claude")
        assert made[0]["target"] == 1
        assert all(one["orders"]["drain"] in ([], ()) for one in made), "no decision named an agent with a task"


async def test_min_is_put_back_after_a_child_worker_was_killed(scene: Scene, up: Up) -> None:
    process = up("--launcher", "process", policy="threshold", min=2, pools__mechanic__min=0)
    async with scene.client() as fleet:

        async def hosts() -> set[int]:
            return {one.pid for one in await fleet.services.roster.workers() if one.agents}

        async def two() -> bool:
            views = [one for one in await fleet.agents() if one.profile == "claude"]
            return [one.status for one in views] == ["idle", "idle"] and len(await hosts()) == 2

        await process.ready()
        await until(two, within=90, what="two agents in two processes are idle")
        before = await hosts()
        assert before <= {child.pid for child in psutil.Process(process.pid).children()}
        killed = min(before)
        psutil.Process(killed).send_signal(signal.SIGKILL)

        async def lost() -> bool:
            return [event.data["pid"] for event in await told(fleet, "worker.lost")] == [killed]

        await until(lost, within=60, what="its death is known")
        await until(two, within=90, what="two agents in two processes are idle again")
        after = await hosts()
        assert before - after == {killed}, "the other one goes on"
        assert after <= {child.pid for child in psutil.Process(process.pid).children()}
        assert not process.over
        assert len(await told(fleet, "launcher.started")) >= 3


async def test_two_that_are_up_never_fight(postgres_scene: Scene, up: Up) -> None:
    async with postgres_scene.client() as fleet:
        first = up(min=2)
        await first.ready()
        await agents(fleet, 2)
        second = up(min=2)
        await second.ready()
        leader = (await view(fleet)).leader
        await looks(fleet, 5)
        assert (await view(fleet)).leader == leader

        first.send(signal.SIGSTOP)
        await first.stopped()
        await until(lambda: _led_by_another(fleet, leader), within=30)
        second_leader = (await view(fleet)).leader
        first.send(signal.SIGCONT)
        await looks(fleet, 5)
        assert (await view(fleet)).leader == second_leader, "it finds out that it was replaced, and stands by"

        second.send(signal.SIGKILL)
        await second.ended()
        await until(lambda: _led_by_another(fleet, second_leader), within=30)
        await agents(fleet, 2)
        fences = [event.data["fence"] for event in await told(fleet, "leader.elected")]
        assert fences == sorted(set(fences)), "one holder for each fence"
        ordered = [event.agent for event in await told(fleet, "agent.ordered") if event.data["profile"] == "claude"]
        assert len(ordered) == len(set(ordered)) == 2, "nobody ordered beside another"


async def _led_by_another(fleet: Fleet, leader: str | None) -> bool:
    return (await view(fleet)).leader not in (None, leader)
