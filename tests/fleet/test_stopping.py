"""Cancelling, draining and losing a lease act wherever a run is, also while git fetches, fills a tree or pushes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.fleet.far import FarAway, locks_below
from tests.fleet.scene import LOG, Scene
from tests.services import until

from ezaigent.core.errors import UnavailableError
from ezaigent.fleet import worker as workers
from ezaigent.store import Connection, Sql
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer

PLACES = [("upload-pack", 0), ("upload-pack", 1), ("receive-pack", 0)]
"""The look at the repository, the fetch, the push."""


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarAway:
    return FarAway(tmp_path / "far", monkeypatch)


@pytest.mark.parametrize(("service", "after"), PLACES)
async def test_cancel_ends_git_where_it_hangs(scene: Scene, far: FarAway, service: str, after: int) -> None:
    async with scene.client() as person:
        handle = await person.submit("Write the log.", far.url(scene.repo))
        far.hang(service, after=after)
        async with scene.working():
            await until(lambda: far.hangs, within=60, what="git hangs")
            await handle.cancel(by="me")
            assert (await handle.settled(timeout=30)).state is State.CANCELLED
            await until(lambda: far.over, what="git has ended")
            assert locks_below(scene.home / "mirrors") == []
            if service == "upload-pack":
                assert not (scene.home / "trees" / handle.id).exists()
            far.heal()
            await handle.retry(by="me")
            assert (await handle.settled(timeout=60)).state is State.REVIEW
    assert scene.branch(handle.id)["log.txt"] == LOG


@pytest.mark.parametrize(("service", "after"), PLACES)
async def test_stopping_at_once_ends_git_where_it_hangs(scene: Scene, far: FarAway, service: str, after: int) -> None:
    async with scene.client() as person:
        handle = await person.submit("Write the log.", far.url(scene.repo))
        far.hang(service, after=after)
        async with scene.working() as fleet:
            await until(lambda: far.hangs, within=60, what="git hangs")
            assert fleet.worker is not None
            fleet.worker.stop()
            fleet.worker.abort()
            await asyncio.wait_for(fleet.join(), 30)
        assert far.over
        task = await handle.get()
        assert (task.state, task.crashes) == (State.QUEUED, 0)
        far.heal()
        async with scene.working():
            assert (await handle.settled(timeout=60)).state is State.REVIEW


async def test_a_lost_lease_ends_git_where_it_hangs(scene: Scene, far: FarAway) -> None:
    async with scene.client() as person:
        await person.submit("Write the log.", far.url(scene.repo))
        far.hang("upload-pack", after=1)
        async with scene.working():
            await until(lambda: far.hangs, within=60, what="git hangs")
            far.heal()
            await person.services.db.write(_take_over)
            await until(lambda: far.over, within=30, what="git has ended")


_raise_fence = Sql("UPDATE tasks SET fence = fence + 1 WHERE state = 'running'")


def _take_over(conn: Connection) -> None:
    _raise_fence.run(conn)


async def test_a_paused_run_is_not_waited_for_when_the_worker_stops(scene: Scene, server: ModelServer) -> None:
    scene.more = {"fleet": {"drain": 3600}}
    server.fail(Fault("hang", step=1))
    async with scene.working() as fleet, scene.client() as person:
        handle = await fleet.submit("Write the log.", scene.repo)
        await server.wait_until(lambda records: len(records) == 2)
        await person.steer("pause", "claude-1", by="me")
        assert fleet.worker is not None
        worker = fleet.worker
        await until(lambda: "claude-1" in worker._paused)  # pyright: ignore[reportPrivateUsage]
        worker.stop()
        server.clear_faults()
        await asyncio.wait_for(fleet.join(), 60)
        task = await handle.get()
        assert (task.state, task.crashes) == (State.QUEUED, 0)
        assert len([record for record in server.requests if record.complete]) == 2, "its step was finished"
        await person.steer("resume", "claude-1", by="me")
    async with scene.working() as fleet:
        assert (await (await fleet.task(handle.id)).settled(timeout=60)).state is State.REVIEW
    assert server.repeated() == {}


async def test_a_run_that_is_paused_while_the_worker_stops_is_not_waited_for(scene: Scene, server: ModelServer) -> None:
    scene.more = {"fleet": {"drain": 3600}}
    server.fail(Fault("hang", step=1))
    async with scene.working() as fleet, scene.client() as person:
        handle = await fleet.submit("Write the log.", scene.repo)
        await server.wait_until(lambda records: len(records) == 2)
        assert fleet.worker is not None
        worker = fleet.worker
        worker.stop()
        await person.steer("pause", "claude-1", by="me")
        await until(lambda: "claude-1" in worker._paused)  # pyright: ignore[reportPrivateUsage]
        server.clear_faults()
        await asyncio.wait_for(fleet.join(), 60)
        assert (await handle.get()).state is State.QUEUED


async def test_a_run_that_does_not_end_is_left_behind(
    scene: Scene, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LAST", 0.05)
    server.fail(Fault("hang", step=0))
    over = asyncio.Event()
    async with scene.working() as fleet:
        await fleet.submit("Write the log.", scene.repo)
        await server.wait_until(lambda records: len(records) == 1)
        assert fleet.worker is not None
        (run,) = fleet.worker._runs.values()  # pyright: ignore[reportPrivateUsage]
        begun, run.task = run.task, asyncio.create_task(_stubborn(over))
        fleet.worker.abort()
        await asyncio.wait_for(fleet.join(), 30)
        await begun
        assert not run.task.done()
    over.set()
    await run.task


async def _stubborn(over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            await over.wait()
        except asyncio.CancelledError:
            continue


async def test_a_waiter_hears_that_the_worker_broke(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = asyncio.Event()

    async def breaks(_: object) -> None:
        await broken.wait()
        raise UnavailableError("the worker broke")

    monkeypatch.setattr(workers.Worker, "_claim_until_stopped", breaks)
    fleet = scene.working()
    await fleet.__aenter__()
    handle = await fleet.submit("Write the log.", scene.repo)
    waiting = asyncio.create_task(handle.wait(timeout=60))
    broken.set()
    with pytest.raises(UnavailableError, match="the worker broke"):
        await waiting
    with pytest.raises(UnavailableError, match="the worker broke"):
        await fleet.__aexit__(None, None, None)
