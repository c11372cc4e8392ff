"""A fleet in child processes, and workers that are restarted one after the other: real processes, real signals."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import psutil
from tests.cli.terminal import Terminal
from tests.fleet.scene import CHECK, LOG, Scene, Zygote
from tests.services import until

from ezaigent.tasks import NewTask, State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet

UP = ("up", "--agents", "3", "--launcher", "process", "--json")
NAMES = ["mechanic-1", "mechanic-2", "mechanic-3"]


def terminal(tmp_path: Path) -> Terminal:
    """Two agents to a worker; the lease is so long that only the lock files tell of a death."""
    return Terminal(
        tmp_path / "home", EZAIGENT_LAUNCHER__ROOM="2", EZAIGENT_QUEUE__LEASE="60", EZAIGENT_LAUNCHER__IDLE="1"
    )


def workers_of(parent: int) -> list[psutil.Process]:
    """The worker processes that ``parent`` has started."""
    return [child for child in psutil.Process(parent).children() if "worker" in child.cmdline()]


async def until_idle(fleet: Fleet, *names: str) -> None:
    async def idle() -> bool:
        return sorted(view.name for view in await fleet.agents() if view.status == "idle") == list(names)

    await until(idle, within=90, what=f"{names} are idle")


async def told(fleet: Fleet, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in await fleet.services.events.read(0, limit=1000, kinds=[kind])]


async def test_child_processes_are_packed_replaced_when_they_die_and_stopped_in_order(tmp_path: Path) -> None:
    ezaigent = terminal(tmp_path)
    async with Fleet.connect(home=ezaigent.home) as person:
        with ezaigent.running(*UP) as up:
            await until_idle(person, *NAMES)
            first, second = workers_of(up.pid)
            first.send_signal(signal.SIGKILL)
            await until(lambda: not first.is_running(), what="it is dead")

            async def lost() -> bool:
                return len(await told(person, "worker.lost")) == 1

            await until(lost, within=30, what="its death is known")
            await until_idle(person, *NAMES)
            assert second in workers_of(up.pid), "the other one goes on"
            (failed,) = await told(person, "launcher.failed")
            assert (failed["launcher"], failed["reason"], failed["failures"]) == ("process", "it ended", 1)
            assert failed["wait"] > 0

            drained = await asyncio.to_thread(ezaigent, "agents", "drain", "mechanic-2", "--json")
            assert drained.json == {"items": [{"name": "mechanic-2", "draining": True}]}
            await until_idle(person, "mechanic-1", "mechanic-3")
            children = workers_of(up.pid)
            up.send_signal(signal.SIGTERM)
            await asyncio.to_thread(up.communicate, timeout=60)
            assert up.returncode == 0
            assert not any(child.is_running() for child in children)
        assert await person.agents() == []
        assert len(await told(person, "agent.ordered")) <= 6, "whom a person drained is not ordered again"


async def test_children_do_not_survive_a_parent_that_is_killed(tmp_path: Path) -> None:
    ezaigent = terminal(tmp_path)
    async with Fleet.connect(home=ezaigent.home) as person:
        with ezaigent.running(*UP) as up:
            await until_idle(person, *NAMES)
            children = workers_of(up.pid)
            assert len(children) == 2
            up.send_signal(signal.SIGKILL)
            await until(lambda: not any(child.is_running() for child in children), what="they have ended, too")
            up.communicate()
        with ezaigent.running(*UP):
            await until_idle(person, *NAMES)


async def test_of_two_fleets_on_one_store_one_starts_workers_until_the_other_has_to(tmp_path: Path) -> None:
    ezaigent = terminal(tmp_path)
    async with Fleet.connect(home=ezaigent.home) as person:
        with ezaigent.running(*UP) as up:
            await until_idle(person, *NAMES)
            with ezaigent.running(*UP) as standby:
                workers_of(up.pid)[0].send_signal(signal.SIGKILL)

                async def replaced() -> bool:
                    return len(await told(person, "launcher.started")) == 3

                await until(replaced, within=60, what="a worker in the place of the dead one")
                await until_idle(person, *NAMES)
                assert workers_of(standby.pid) == []
                assert len(await told(person, "launcher.started")) == 3
                children = workers_of(up.pid)
                up.send_signal(signal.SIGKILL)
                await until(lambda: not any(child.is_running() for child in children), what="its children have ended")
                await until_idle(person, *NAMES)
                assert len(workers_of(standby.pid)) == 2
                up.communicate()


async def test_a_rolling_restart_of_all_workers_fails_no_task(
    scene: Scene, workers: Zygote, server: ModelServer
) -> None:
    old = [workers.worker(scene, pools="claude=2"), workers.worker(scene, pools="claude=2", EZAIGENT_FLEET__DRAIN="0")]
    for one in old:
        await one.ready()
    async with scene.client() as person:
        handles = [await person.submit(f"Write log {number}.", scene.repo, checks=(CHECK,)) for number in range(8)]
        for number, one in enumerate(old):
            requests = len(server.requests)
            new = workers.worker(scene, pools="claude=2")
            await new.ready()
            if number == 0:
                await server.wait_until(lambda records, least=requests: len(records) > least)
            one.send(signal.SIGTERM)
            assert await one.ended() == 0
        for handle in handles:
            task = await handle.settled(timeout=90)
            assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 0), task.reason
            assert scene.branch(task.id)["log.txt"] == LOG
    assert server.repeated() == {}


async def test_the_autoscaler_grows_the_fleet_by_processes_and_shrinks_it_without_touching_a_task(
    scene: Scene, workers: Zygote, server: ModelServer
) -> None:
    server.fail(Fault("hang", times=99))
    up = workers.command(
        *(scene, "up", "--launcher", "process", "--json"),
        EZAIGENT_SERVER__PORT="0",
        EZAIGENT_LAUNCHER__ROOM="2",
        EZAIGENT_LAUNCHER__IDLE="1",
        EZAIGENT_QUEUE__LEASE="12",
        EZAIGENT_SCALING__PERIOD="0.5",
        EZAIGENT_SCALING__STARTUP="1",
        EZAIGENT_SCALING__KEEP="1",
        EZAIGENT_SCALING__POOLS__CLAUDE__MAX="4",
        EZAIGENT_SCALING__POOLS__MECHANIC__MIN="0",
    )
    await up.ready()
    async with scene.client() as person:
        await until_idle(person, "claude-1")
        assert len(workers_of(up.pid)) == 1
        new = [NewTask(prompt=f"Write log {number}.", repo=str(scene.repo)) for number in range(6)]
        handles = await person.submit_many(new)

        async def grown() -> bool:
            return sum(view.status == "active" for view in await person.agents()) == 4

        await until(grown, within=90, what="four agents work")
        children = {child.pid for child in workers_of(up.pid)}
        there = {worker.pid: worker.agents for worker in await person.services.roster.workers() if worker.agents}
        assert there.keys() <= children, "every agent is in a process of its own launcher"
        assert sorted(len(agents) for agents in there.values()) in ([2, 2], [1, 1, 2]), "two to a process"

        server.clear_faults()
        for handle in handles:
            task = await handle.settled(timeout=90)
            assert (task.state, task.attempts, task.crashes) == (State.REVIEW, 1, 0), task.reason
            assert scene.branch(task.id)["log.txt"] == LOG

        async def shrunk() -> bool:
            return len(await person.agents()) == 1 == len(workers_of(up.pid))

        await until(shrunk, within=90, what="one agent in one process is left")
        assert await told(person, "task.requeued") == await told(person, "launcher.failed") == []
        assert await told(person, "launcher.stopped") != []
        up.send(signal.SIGTERM)
        assert await up.ended() == 0
        assert await person.agents() == []
    assert server.repeated() == {}
