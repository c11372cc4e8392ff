"""Launchers: how many workers, when again after a failure, and what is replaced; with processes that are real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import psutil
import pytest
from tests.services import until

from ezaigent.core.errors import LauncherError
from ezaigent.fleet import InlineLauncher, PackedLauncher, Patience, ProcessSite, Seat, WorkerInfo
from ezaigent.fleet.launchers.packing import without_room, workers_for
from ezaigent.store import Database, EventLog

PATIENCE = Patience(startup=10, silence=20, idle=30, steady=60, backoff=4, backoff_cap=20)


def seat(number: int, worker: str | None = None, *, profile: str = "claude", leaving: str | None = None) -> Seat:
    return Seat(
        agent=f"{profile}-{number}",
        profile=profile,
        worker=worker,
        pinned=False,
        ordered_at=0.0,
        ready_at=None,
        leaving=leaving,
        leaving_at=None,
        recallable=False,
    )


def seats(count: int, worker: str | None = None) -> list[Seat]:
    return [seat(number, worker) for number in range(1, count + 1)]


def worker(
    name: str, *, host: str = "here", agents: int = 0, room: int | None = 4, hosts: tuple[str, ...] = ("claude",)
) -> WorkerInfo:
    names = tuple(f"claude-{number}" for number in range(agents))
    return WorkerInfo(id=name, host=host, pid=1, version="1", sandbox="off", agents=names, hosts=hosts, room=room)


class FakeSite:
    """A place that starts nothing; a worker is known by its host's name."""

    kind = "fake"
    lasting = True

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.stopped: list[str] = []
        self.killed: list[str] = []
        self.refuses = False
        self.hurried = False
        self.closed: float | None = None

    async def running(self) -> set[str]:
        return set(self.alive)

    async def start(self, name: str, room: int) -> None:
        assert room == 4
        if self.refuses:
            raise LauncherError("the place is full")
        self.alive.append(name)

    async def stop(self, name: str) -> None:
        self.stopped.append(name)

    async def kill(self, name: str) -> None:
        self.killed.append(name)
        self.alive.remove(name)

    def is_it(self, name: str, worker: WorkerInfo) -> bool:
        return worker.host == name

    def hurry(self) -> None:
        self.hurried = True

    async def close(self, *, patience: float) -> None:
        self.closed = patience


class Play:
    """A launcher at a fake site, with a clock of its own."""

    def __init__(self, db: Database) -> None:
        self.now = 100.0
        self.db = db
        self.site = FakeSite()
        self.launcher = PackedLauncher(db, self.site, room=4, most=3, patience=PATIENCE, clock=lambda: self.now)

    async def look(self, there: Sequence[Seat], workers: Sequence[WorkerInfo] = (), *, after: float = 1.0) -> list[str]:
        self.now += after
        await self.launcher.ensure(there, workers)
        return self.site.alive

    def ready(self, agents: int = 4) -> list[WorkerInfo]:
        return [worker(name, host=name, agents=agents) for name in self.site.alive]

    async def failed(self) -> list[bool]:
        """Return of each worker that failed whether it had been ready."""
        events = await EventLog(self.db).read(0, limit=100, kinds=["launcher.failed"])
        return [bool(event.data["ready"]) for event in events]

    async def told(self, kind: str) -> list[str]:
        events = await EventLog(self.db).read(0, limit=100, kinds=[kind])
        return [str(event.data.get("reason", "")) for event in events]


@pytest.fixture
async def play(tmp_path: Path) -> AsyncGenerator[Play]:
    db = await Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield Play(db)
    await db.close()


def test_seats_find_room_with_workers_that_host_their_profile() -> None:
    waiting = [*seats(5), seat(1, profile="gpt"), seat(6, "one"), seat(7, leaving="less work")]
    assert without_room(waiting, []) == 6
    assert without_room(waiting, [worker("one", agents=1)]) == 3
    assert without_room(waiting, [worker("one", room=None)]) == 1
    assert without_room(waiting, [worker("one", room=None, hosts=())]) == 6
    assert without_room(waiting, [worker("one", hosts=("gpt", "claude"))]) == 2
    assert [workers_for(count, 4) for count in (0, 1, 4, 5)] == [0, 1, 1, 2]


async def test_workers_are_packed_and_no_more_are_started_while_some_start(play: Play) -> None:
    assert await play.look([]) == []
    assert len(await play.look(seats(5))) == 2
    assert len(await play.look(seats(5))) == 2, "they start"
    assert len(await play.look(seats(9))) == 3
    assert len(await play.look(seats(50))) == 3, "as many as are allowed"
    await InlineLauncher().ensure(seats(3), [])
    await InlineLauncher().close()


async def test_a_worker_that_died_is_started_again_later_each_time(play: Play) -> None:
    await play.look(seats(1))
    waits: list[int] = []
    for _ in range(4):
        play.site.alive.clear()
        await play.look(seats(1), after=0.0)
        waited = 0
        while not await play.look(seats(1)):
            waited += 1
        waits.append(waited)
    assert 2 <= waits[0] <= 4
    assert 4 <= waits[1] <= 8
    assert 10 <= waits[3] <= 20
    assert await play.told("launcher.failed") == ["it ended"] * 4
    assert await play.failed() == [False] * 4


async def test_after_a_long_life_a_worker_is_started_again_soon(play: Play) -> None:
    for _ in range(3):
        await play.look(seats(1), after=30.0)
        play.site.alive.clear()
    await play.look(seats(1), after=30.0)
    await play.look(seats(1), after=30.0)
    await play.look(seats(1), play.ready(1))
    await play.look(seats(1), play.ready(1), after=100.0)
    play.site.alive.clear()
    assert await play.look(seats(1)) == []
    assert await play.look(seats(1), after=4.0) != []
    assert await play.failed() == [False, False, True]


async def test_a_start_that_takes_three_times_the_usual_is_replaced(play: Play) -> None:
    await play.look(seats(1))
    await play.look(seats(1), after=29.0)
    assert play.site.killed == []
    await play.look(seats(1), after=2.0)
    assert len(play.site.killed) == 1
    assert await play.told("launcher.failed") == ["it was not ready after 30 s"]
    (name,) = await play.look(seats(1), after=5.0)
    await play.look(seats(1), play.ready(1), after=4.0)
    assert play.launcher.usual_start == 4.0, "what is usual was measured"
    (_, second) = await play.look([*seats(1, "x"), *seats(4)], [worker("x", host=name, agents=4)])
    await play.look(seats(4), [worker("x", host=name, agents=4)], after=13.0)
    assert play.site.killed[1:] == [second]


async def test_a_worker_that_is_not_heard_of_any_more_is_replaced(play: Play) -> None:
    await play.look(seats(1))
    await play.look(seats(1), play.ready(1))
    await play.look(seats(1, "x"), after=10.0)
    await play.look(seats(1, "x"), play.ready(1))
    await play.look(seats(1, "x"), after=10.0)
    await play.look(seats(1, "x"), after=19.0)
    assert play.site.killed == []
    await play.look(seats(1, "x"), after=2.0)
    assert len(play.site.killed) == 1
    assert await play.told("launcher.failed") == ["it was not heard of for 20 s"]
    assert await play.failed() == [True]


async def test_a_worker_without_agents_is_stopped_and_not_missed(play: Play) -> None:
    await play.look(seats(1))
    await play.look([], play.ready(0))
    await play.look(seats(1, "x"), play.ready(1), after=29.0)
    await play.look([], play.ready(0))
    await play.look([], play.ready(0), after=29.0)
    assert play.site.stopped == []
    await play.look([], play.ready(0), after=2.0)
    await play.look([], play.ready(0), after=40.0)
    assert play.site.stopped == play.site.alive
    await play.look([], after=40.0)
    play.site.alive.clear()
    await play.look([])
    assert await play.told("launcher.failed") == []
    assert await play.told("launcher.stopped") == ["it has no agents"]
    assert len(await play.look(seats(1))) == 1


async def test_a_place_that_refuses_is_asked_again_later(play: Play) -> None:
    play.site.refuses = True
    await play.look(seats(1))
    await play.look(seats(1))
    assert await play.told("launcher.failed") == ["the place is full"]
    play.site.refuses = False
    assert len(await play.look(seats(1), after=5.0)) == 1


async def test_workers_of_an_earlier_launcher_are_found_again(play: Play) -> None:
    play.site.alive.append("ezaigent-before")
    assert await play.look(seats(4)) == ["ezaigent-before"], "it may still be starting"
    await play.look(seats(4, "x"), play.ready())
    assert await play.look(seats(4, "x"), play.ready()) == ["ezaigent-before"]
    assert play.launcher.lasting
    play.launcher.hurry()
    await play.launcher.close()
    assert (play.site.hurried, play.site.closed) == (True, PATIENCE.close)
    assert await play.look(seats(9)) == ["ezaigent-before"], "nothing is started after the end"


# ------------------------------------------------------------------------------------------ processes

PATIENT = (
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('up', flush=True); time.sleep(600)"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
PARENT = """
import asyncio, sys
from ezaigent.fleet import ProcessSite
CHILD = '''
import os, time
from ezaigent.fleet import PARENT, die_with
die_with(int(os.environ[PARENT]))
open(%r, 'w').write(str(os.getpid()))
time.sleep(600)
''' % sys.argv[1]
async def main():
    site = ProcessSite([sys.executable, '-c', CHILD])
    await site.start('one', 1)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_child_processes_are_told_to_end_and_killed_when_they_do_not(tmp_path: Path) -> None:
    note = tmp_path / "room"
    write = f"open({str(note)!r}, 'w').write('{{room}}'); "
    site = ProcessSite([sys.executable, "-c", write + STUBBORN])
    await site.start("one", 7)
    await until(lambda: note.exists() and note.read_text() == "7", what="it runs")
    assert await site.running() == {"one"}
    this = WorkerInfo(id="w", host=socket.gethostname(), pid=site.pid("one"), version="1", sandbox="off")
    assert site.is_it("one", this)
    assert not site.is_it("one", this.model_copy(update={"pid": 1}))
    assert not site.is_it("two", this)
    await site.start("two", 7)
    await site.kill("two")
    assert await site.running() == {"one"}
    site.hurry()
    await site.close(patience=0.2)
    assert await site.running() == set()
    assert not psutil.pid_exists(this.pid)
    await site.close(patience=0.2)
    with pytest.raises(LauncherError, match="cannot be started"):
        await ProcessSite([str(tmp_path / "missing")]).start("one", 1)


async def test_a_child_process_that_ends_in_order_is_waited_for() -> None:
    site = ProcessSite([sys.executable, "-c", "import time; time.sleep(600)"])
    await site.start("one", 1)
    await site.stop("one")

    async def ended() -> bool:
        return await site.running() == set()

    await until(ended, what="it has ended")
    await site.stop("one")
    await site.close(patience=30)


async def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(note))
    await until(lambda: note.exists() and note.read_text(), within=60, what="the child runs")
    child = int(note.read_text())
    assert psutil.pid_exists(child)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not psutil.pid_exists(child), what="the child has ended, too")


async def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    from ezaigent.fleet import die_with, until_orphaned

    with pytest.raises(ProcessLookupError):
        die_with(os.getpid())
    await asyncio.wait_for(until_orphaned(os.getpid()), 30)
