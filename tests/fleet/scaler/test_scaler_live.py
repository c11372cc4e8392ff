"""``ezaigent up`` in processes of its own, with real runs against the scripted model."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fleet.scene import Process, Scene, Zygote, make_repository
from tests.services import until

from ezaigent.core.events import Event
from ezaigent.fleet import ScalerView
from ezaigent.tasks import NewTask, State
from ezaigent.testing import Fault, ModelServer, from_steps
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
    """Starts ``ezaigent up`` with settings of ``[scaling]``, in JSON."""

    def start(**values: Any) -> Process:
        own = {f"EZAIGENT_SCALING__{name.upper()}": str(value) for name, value in {"period": 0.5, **values}.items()}
        return workers.command(
            scene,
            *("up", "--json"),
            EZAIGENT_SERVER__PORT="0",
            **own,
        )

    return start


async def submit(fleet: Fleet, scene: Scene, count: int) -> None:
    new = [NewTask(prompt=f"Task {number}.", repo=str(scene.repo), profile="claude") for number in range(count)]
    await fleet.submit_many(new)


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


async def test_min_comes_back_after_a_kill(scene: Scene, up: Up) -> None:
    first = up(min=2)
    async with scene.client() as fleet:
        await first.ready()
        await agents(fleet, 2)
        first.send(signal.SIGKILL)
        await first.ended()
        second = up(min=2)
        await second.ready()
        await agents(fleet, 2)


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
