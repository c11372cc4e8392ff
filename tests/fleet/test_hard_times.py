"""Stopped workers, a full disk, a store that is slow: no lease is lost early, refusals are clean, and work goes on."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import require
from tests.fleet.scene import CHECK, LOG, Scene, Zygote, kinds
from tests.services import PostgresServer, until

from ezaigent.core.errors import StoreUnavailable
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet

PATIENT = {"EZAIGENT_QUEUE__LEASE": "12"}


async def running(fleet: Fleet, scene: Scene, server: ModelServer) -> str:
    """Submit a task; return its id once the model thinks about its second step."""
    server.fail(Fault("hang", step=1, times=9))
    handle = await fleet.submit("Write the log.", scene.repo, checks=(CHECK,))
    await server.wait_until(lambda records: len(records) == 2)
    return handle.id


async def assert_done_once(fleet: Fleet, scene: Scene, task_id: str, *, lost: int) -> None:
    task = await (await fleet.task(task_id)).settled(timeout=60)
    assert (task.state, task.attempts) == (State.REVIEW, 1), task.reason
    assert scene.branch(task_id)["log.txt"] == LOG
    said = kinds(await fleet.services.events.read(0, 1000, task_id=task_id))
    assert (said.count("task.lease_expired"), said.count("task.review")) == (lost, 1)


@pytest.fixture
def patient(scene: Scene) -> Scene:
    """A fleet with leases that outlast what is done to it."""
    scene.more = {"queue": {"lease": 12}}
    return scene


async def test_a_worker_that_is_stopped_for_less_than_a_lease_loses_nothing(
    workers: Zygote, patient: Scene, server: ModelServer
) -> None:
    first = workers.worker(patient, **PATIENT)
    async with patient.client() as fleet:
        task = await running(fleet, patient, server)
        await workers.worker(patient, **PATIENT).ready()
        first.send(signal.SIGSTOP)
        await first.stopped()
        await asyncio.sleep(5)
        first.send(signal.SIGCONT)
        server.clear_faults()
        await assert_done_once(fleet, patient, task, lost=0)


async def test_a_worker_that_is_stopped_for_longer_is_replaced_and_writes_nothing_more(
    workers: Zygote, scene: Scene, server: ModelServer
) -> None:
    first = workers.worker(scene)
    async with scene.client() as fleet:
        task = await running(fleet, scene, server)
        first.send(signal.SIGSTOP)
        await first.stopped()
        server.clear_faults()
        await workers.worker(scene).ready()
        await assert_done_once(fleet, scene, task, lost=1)
        first.send(signal.SIGCONT)
        second = await fleet.submit("Write the log.", scene.repo)
        await second.settled(timeout=60)
        await assert_done_once(fleet, scene, task, lost=1)
    assert not first.over, first.said


@pytest.mark.postgres
async def test_a_store_that_answers_nothing_for_a_while_costs_no_lease(
    workers: Zygote, patient: Scene, server: ModelServer, postgres_database: str, postgres_server: PostgresServer
) -> None:
    patient.database = postgres_database
    workers.worker(patient, **PATIENT)
    async with patient.client() as fleet:
        task = await running(fleet, patient, server)
        await workers.worker(patient, **PATIENT).ready()
        postgres_server.pause()
        server.clear_faults()
        await asyncio.sleep(5)
        postgres_server.resume()
        await assert_done_once(fleet, patient, task, lost=0)


async def test_a_store_that_another_program_keeps_locked_costs_no_lease(
    workers: Zygote, patient: Scene, server: ModelServer
) -> None:
    workers.worker(patient, **PATIENT)
    async with patient.client() as fleet:
        task = await running(fleet, patient, server)
        await workers.worker(patient, **PATIENT).ready()
        other = sqlite3.connect(patient.home / "ezaigent.db", isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        server.clear_faults()
        await asyncio.sleep(5)
        other.execute("ROLLBACK")
        other.close()
        await assert_done_once(fleet, patient, task, lost=0)


SHORT = {"EZAIGENT_QUEUE__LEASE": "4"}
PAST = 7
"""Seconds that are longer than one and a half of these leases, after which workers are counted as lost. A store that is
slow for 30 s, with the default leases of 30 s, is slow for one of them."""


@pytest.fixture
def hasty(scene: Scene) -> Scene:
    """A fleet with leases that run out while the store stands still."""
    scene.more = {"queue": {"lease": 4}}
    return scene


async def pair(workers: Zygote, scene: Scene, fleet: Fleet, server: ModelServer) -> str:
    """Let a worker be in a task, and another one be idle."""
    workers.worker(scene, pools="claude=2", **SHORT)
    task = await running(fleet, scene, server)
    await workers.worker(scene, pools="claude=2", **SHORT).ready()
    return task


@pytest.mark.postgres
async def test_a_store_that_stands_still_for_longer_than_the_leases_costs_none(
    workers: Zygote, hasty: Scene, server: ModelServer, postgres_database: str, postgres_server: PostgresServer
) -> None:
    hasty.database = postgres_database
    async with hasty.client() as fleet:
        task = await pair(workers, hasty, fleet, server)
        postgres_server.pause()
        server.clear_faults()
        await asyncio.sleep(PAST)
        postgres_server.resume()
        await assert_done_once(fleet, hasty, task, lost=0)
        assert await fleet.services.events.read(0, 1000, kinds=["worker.lost"]) == []


async def test_a_store_that_is_locked_for_longer_than_the_leases_costs_none(
    workers: Zygote, hasty: Scene, server: ModelServer
) -> None:
    async with hasty.client() as fleet:
        task = await pair(workers, hasty, fleet, server)
        other = sqlite3.connect(hasty.home / "ezaigent.db", isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        server.clear_faults()
        await asyncio.sleep(PAST)
        other.execute("ROLLBACK")
        other.close()
        await assert_done_once(fleet, hasty, task, lost=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    require(done.returncode == 0, "the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave not a byte free; return the file that takes it all."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


async def test_a_full_disk_is_refused_cleanly_and_the_work_goes_on_when_there_is_room(
    scene: Scene, server: ModelServer, small_disk: Path
) -> None:
    scene.database = f"sqlite:///{small_disk}/store.db"
    async with scene.working() as fleet:
        task = await running(fleet, scene, server)
        ballast = fill(small_disk)
        refused = pytest.raises(StoreUnavailable, match="the disk is full; free some space and try again")
        with refused:  # what was free inside the file is used up first
            await asyncio.gather(*(fleet.submit("x" * 10_000, scene.repo) for _ in range(50)))
        assert (await fleet.services.queue.get(task)).state is State.RUNNING, "looking goes on"
        server.clear_faults()
        ballast.unlink()

        async def writable() -> bool:
            try:
                await fleet.submit("Once more.", scene.repo)
            except StoreUnavailable:
                return False
            return True

        await until(writable, within=20)
        done = await (await fleet.task(task)).settled(timeout=60)
        assert (done.state, done.attempts) == (State.REVIEW, 1), done.reason
        assert scene.branch(task)["log.txt"] == LOG
    with sqlite3.connect(small_disk / "store.db") as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
