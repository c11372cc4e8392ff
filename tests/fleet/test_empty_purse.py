"""An empty quota or purse fails no task: all wait, and one agent finds out when the model answers again."""

from __future__ import annotations

import pytest
from tests.fleet.scene import CHECK, LOG, MODEL, Scene
from tests.services import until

from ezaigent.store import emit
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet, TaskHandle

PROVIDER, _, NAME = MODEL.partition(":")


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
