"""The host's clock jumps by an hour, forth and back: no lease is lost early, and none is kept late."""

from __future__ import annotations

import asyncio
import mmap
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import require
from tests.fleet.scene import LOG, Scene
from tests.services import PostgresServer, ServiceMissing, until

from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet, TaskHandle

HOUR = 3600


class ShiftedClock:
    """The time of day of the processes that it is loaded into."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        require(compiler, "a C compiler")
        assert compiler is not None
        self._library = folder / "shifted.so"
        source = Path(__file__).with_name("shifted_clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)
        self._path = folder / "shift"
        self._path.write_bytes(struct.pack("l", 0))
        with self._path.open("r+b") as file:
            self._seconds = mmap.mmap(file.fileno(), struct.calcsize("l"))

    @property
    def environment(self) -> dict[str, str]:
        """What loads it."""
        return {"LD_PRELOAD": str(self._library), "SHIFTED_CLOCK": str(self._path)}

    def shift(self, seconds: int) -> None:
        """Let all clocks be so far ahead."""
        self._seconds[:] = struct.pack("l", seconds)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> ShiftedClock:
    return ShiftedClock(tmp_path_factory.mktemp("clock"))


class Shifted:
    """Worker processes that live by the shifted clock."""

    def __init__(self, scene: Scene, clock: ShiftedClock) -> None:
        self.scene = scene
        self.clock = clock
        self.all: list[subprocess.Popen[bytes]] = []

    async def start(self) -> subprocess.Popen[bytes]:
        """Start one; return when it works."""
        command = [sys.executable, "-m", "ezaigent", "--home", str(self.scene.home), "worker", "--pools", "claude=1"]
        lease = f"{self.scene.settings.queue.lease:g}"
        log = self.scene.home.parent / f"worker-{len(self.all)}.log"
        with log.open("wb") as out:
            started = subprocess.Popen(  # noqa: ASYNC220
                [*command, "--json"],
                env=os.environ | self.scene.environment(EZAIGENT_QUEUE__LEASE=lease, **self.clock.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.all.append(started)
        await until(lambda: b'"ready":true' in log.read_bytes(), within=60, what=f"ready: {log.read_text()}")
        return started


@pytest.fixture(scope="module")
def shifted_postgres(clock: ShiftedClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL that lives by the shifted clock."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        try:
            server = PostgresServer(tmp_path_factory.mktemp("postgres"))
            server.start()
        except ServiceMissing as error:
            require(condition=False, reason=str(error))
            raise
    yield server
    server.stop()


@pytest.fixture
def shifted(scene: Scene, clock: ShiftedClock) -> Iterator[Shifted]:
    clock.shift(0)
    processes = Shifted(scene, clock)
    yield processes
    for one in processes.all:
        one.kill()
        one.wait()


def told(clock: ShiftedClock) -> float:
    """Return what a process that lives by the clock takes for the time of day."""
    command = [sys.executable, "-c", "import time; print(time.time())"]
    return float(subprocess.run(command, env=os.environ | clock.environment, capture_output=True, check=True).stdout)


async def begun(shifted: Shifted, server: ModelServer, fleet: Fleet) -> TaskHandle:
    """Return a task whose model thinks about its second step."""
    server.fail(Fault("hang", step=1, times=9))
    handle = await fleet.submit("Write the log.", shifted.scene.repo)
    await server.wait_until(lambda records: len(records) == 2)
    return handle


async def assert_kept(handle: TaskHandle) -> None:
    task = await handle.get()
    assert (task.state, task.crashes, task.fence) == (State.RUNNING, 0, 1), "its lease was taken early"


async def assert_taken_over(handle: TaskHandle, shifted: Shifted) -> None:
    task = await handle.settled(timeout=60)
    assert (task.state, task.crashes, task.attempts) == (State.REVIEW, 1, 1), "its lease was kept late"
    assert shifted.scene.branch(task.id)["log.txt"] == LOG


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_ends_no_lease_early_and_keeps_none_late(shifted: Shifted, server: ModelServer, jump: int) -> None:
    before = told(shifted.clock)
    first = await shifted.start()
    async with shifted.scene.client() as fleet:
        handle = await begun(shifted, server, fleet)
        shifted.clock.shift(jump)
        assert abs(told(shifted.clock) - before - jump) < 600, "the clock jumps"
        await shifted.start()  # one that has never seen the old time
        await asyncio.sleep(2.5 * shifted.scene.settings.queue.lease)
        await assert_kept(handle)

        first.kill()
        server.clear_faults()
        await assert_taken_over(handle, shifted)
        times = [event.at for event in await fleet.services.events.read(0, 1000)]
        assert max(times) - min(times) < HOUR / 2, "the log knows one time"


@pytest.mark.postgres
async def test_a_jump_of_the_databases_clock_ends_no_lease_early_and_keeps_none_late(
    shifted: Shifted, server: ModelServer, shifted_postgres: PostgresServer
) -> None:
    """Its time is what leases are counted by: all have run out, and then all are an hour long, until the next words."""
    scene, lease = shifted.scene, 9
    scene.database, scene.more = shifted_postgres.create_database(), {"queue": {"lease": lease}}
    first = await shifted.start()
    async with scene.client() as fleet:
        handle = await begun(shifted, server, fleet)
        await shifted.start()
        for jump in (HOUR, 0):
            shifted.clock.shift(jump)
            ahead = float(shifted_postgres.execute("SELECT extract(epoch FROM clock_timestamp())")) - time.time()
            assert abs(ahead - jump) < 600, "the database's clock jumps"
            await asyncio.sleep(0.7 * lease)  # all have had time for a word, and to act on what they think of others
            await assert_kept(handle)
        assert await fleet.services.events.read(0, 1000, kinds=["worker.lost"]) == []

        first.kill()
        server.clear_faults()
        await assert_taken_over(handle, shifted)
