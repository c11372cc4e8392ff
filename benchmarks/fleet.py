"""A whole fleet in child processes: many agents on few cores, from submit to done, with all that the product does.

``ezaigent up --launcher process`` is started as a person would, with the scripted model server in a process of its own.
Once every agent is ready, as many tasks as there are agents are submitted at once, each of which has its worktree,
makes real commands in the sandbox and waits for its model; then single tasks follow, to a fleet that is idle.

Dispatch is the time from when a task could be claimed to its claim, by the database's clock. CPU and memory are those
of the fleet's processes (the parent and its workers), without the model server and the sandboxed commands; memory is
the largest sum of what they have for themselves and their part of what they share (PSS).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.conditions import conditions
from ezaigent.store import Database, Sql
from ezaigent.tasks import NewTask, State
from ezaigent.wiring import Fleet, load_settings

PROFILE = "bench"


@contextmanager
def model_server(calls: int, latency: float) -> Generator[str]:
    """Run the scripted server; each task makes ``calls`` commands, each reply takes ``latency`` seconds."""
    command = [sys.executable, "-m", "ezaigent.testing", "--script", "echo_tools"]
    options = json.dumps({"n": calls, "size": 1024})
    with subprocess.Popen(
        [*command, "--options", options, "--latency", str(latency)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def repository(path: Path) -> Path:
    """Make a small repository."""
    path.mkdir()
    (path / "README.md").write_text("# Bench\n")
    git = ["git", "-C", str(path), "-c", "user.name=Bench", "-c", "user.email=bench@example.invalid"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "First"]):
        subprocess.run([*git, *words], check=True, stdout=subprocess.DEVNULL)
    return path


class Processes:
    """The fleet's processes: what they used."""

    def __init__(self, parent: int) -> None:
        self._parent = psutil.Process(parent)
        self._cpu: dict[int, float] = {}
        self.peak = 0.0
        self.most = 0

    def look(self) -> None:
        """Note CPU and memory."""
        memory = 0.0
        children = [child for child in self._parent.children() if "worker" in child.cmdline()]
        for process in (self._parent, *children):
            try:
                times = process.cpu_times()
                self._cpu[process.pid] = times.user + times.system
                memory += process.memory_full_info().pss
            except psutil.Error:
                continue
        self.most = max(self.most, len(children))
        self.peak = max(self.peak, memory / 1024**2)

    @property
    def cpu(self) -> float:
        """Seconds of all so far."""
        return sum(self._cpu.values())


READY = Sql("SELECT count(*) FROM seats WHERE ready_at IS NOT NULL AND leaving IS NULL")
RUNNING = Sql("SELECT count(*) FROM tasks WHERE state = 'running'")
LEFT = Sql("SELECT count(*) FROM tasks WHERE state NOT IN ('done', 'review', 'failed', 'cancelled')")
ENDS = Sql("SELECT state, count(*) FROM tasks GROUP BY state")
CLAIMS = Sql(
    """SELECT t.id, min(c.at) - min(q.at) FROM tasks t
    JOIN events q ON q.task_id = t.id AND q.kind IN ('task.submitted', 'task.queued')
    JOIN events c ON c.task_id = t.id AND c.kind = 'task.claimed' GROUP BY t.id"""
)


@contextmanager
def fleet_of(given: argparse.Namespace, url: str, folder: Path) -> Generator[tuple[subprocess.Popen[bytes], Path]]:
    """Run ``ezaigent up`` with child processes; yield it and its log."""
    variables = {
        "EZAIGENT_HOME": str(folder / "home"),
        "EZAIGENT_FLEET__POOLS": json.dumps({PROFILE: given.agents}),
        "EZAIGENT_PROFILES__BENCH__MODEL": "openai:gpt-5.2",
        "EZAIGENT_PROFILES__BENCH__CONTEXT_WINDOW": "200000",
        "EZAIGENT_PROVIDERS__OPENAI__BASE_URL": f"{url}/openai/v1",
        "EZAIGENT_PROVIDERS__OPENAI__API_KEY": "k-bench",
        "EZAIGENT_LAUNCHER__ROOM": str(-(-given.agents // given.processes)),
        "EZAIGENT_LAUNCHER__STARTUP": "60",
        "EZAIGENT_WORKSPACES__PUBLISH": "false",
        "EZAIGENT_SERVER__PORT": "0",
    }
    if given.database:
        variables["EZAIGENT_DATABASE_URL"] = given.database
    if given.redis:
        variables["EZAIGENT_REDIS_URL"] = given.redis
    os.environ.update(variables)
    words = ["up", "--agents", str(given.agents), "--launcher", "process", "--json"]
    log = folder / "up.log"
    with (
        log.open("wb") as out,
        subprocess.Popen([sys.executable, "-m", "ezaigent", *words], stdout=subprocess.DEVNULL, stderr=out) as up,
    ):
        try:
            yield up, log
        finally:
            up.terminate()
            up.wait()


class Observer:
    """Looks at the store and at the processes until something has come true."""

    def __init__(self, db: Database, processes: Processes, up: subprocess.Popen[bytes], log: Path) -> None:
        self._db = db
        self._up = up
        self._log = log
        self.processes = processes

    async def count(self, sql: Sql) -> int:
        """Return the number that ``sql`` finds."""
        return int((await self._db.read(sql.all))[0][0])

    async def waits(self) -> dict[str, float]:
        """Return the seconds to its claim, by task."""
        return dict(await self._db.read(CLAIMS.all))

    async def until(self, sql: Sql, goal: int, limit: float) -> int:
        """Wait until the count is ``goal``; return the most tasks that ran at a time meanwhile."""
        deadline, most = time.monotonic() + limit, 0
        while await self.count(sql) != goal:
            if time.monotonic() > deadline or self._up.poll() is not None:
                raise SystemExit(f"not done within {limit:.0f} s; the fleet says: {self._log.read_text()[-3000:]}")
            most = max(most, await self.count(RUNNING))
            self.processes.look()
            await asyncio.sleep(0.5)
        self.processes.look()
        return most


async def measure(given: argparse.Namespace, up: subprocess.Popen[bytes], log: Path, repo: Path) -> None:
    """Let the fleet work, and print its figures."""
    began = time.perf_counter()
    async with Fleet.connect(settings=load_settings()) as person:
        queue, processes = person.services.queue, Processes(up.pid)
        observer = Observer(person.services.db, processes, up, log)
        await observer.until(READY, given.agents, 600)
        start_up = time.perf_counter() - began
        print(f"agents      {given.agents} in {processes.most} worker processes, {start_up:.1f} s to start")

        cpu, began = processes.cpu, time.perf_counter()
        new = [NewTask(prompt=f"Look {number}.", repo=str(repo), profile=PROFILE) for number in range(given.agents)]
        for start in range(0, len(new), 500):
            await queue.submit_many(new[start : start + 500])
        most = await observer.until(LEFT, 0, given.limit)
        wall, cpu = time.perf_counter() - began, processes.cpu - cpu
        burst = await observer.waits()
        print(f"burst       {given.agents} tasks in {wall:.1f} s, {most} at a time; dispatch {spread(burst.values())}")
        print(f"cpu         {cpu:.1f} s for it, {cpu * 1000 / given.agents:.0f} ms a task, {cpu / wall:.2f} cores")
        print(f"memory      {processes.peak:.0f} MiB at most, {processes.peak / given.agents:.2f} MiB an agent")

        for number in range(given.singles):
            await queue.submit(NewTask(prompt=f"See {number}.", repo=str(repo), profile=PROFILE))
            await asyncio.sleep(0.1)
        await observer.until(LEFT, 0, given.limit)
        single = [wait for task, wait in (await observer.waits()).items() if task not in burst]
        print(f"single      {given.singles} tasks, 10 a second; dispatch {spread(single)}")

        states = dict(await person.services.db.read(ENDS.all))
        good = sum(count for state, count in states.items() if state in {State.DONE, State.REVIEW})
        lost = await person.services.events.read(0, limit=1000, kinds=["worker.lost", "task.lease_expired"])
        print(f"tasks       {good} of {given.agents + given.singles} done, {len(lost)} taken over")
        if good != given.agents + given.singles:
            raise SystemExit(f"not all tasks are done: {states}")


def spread(seconds: Iterable[float]) -> str:
    """Return the middle, the late and the last of these times."""
    ordered = sorted(seconds)
    if not ordered:
        return "none"
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    places = {name: min(len(ordered) - 1, int(share * len(ordered))) for name, share in shares.items()}
    return ", ".join(f"{name} {ordered[place] * 1000:.0f} ms" for name, place in places.items())


def main() -> None:
    """Print dispatch, CPU and memory of a fleet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--calls", type=int, default=2, help="commands of each task")
    parser.add_argument("--latency", type=float, default=5.0, help="seconds that the model takes for each reply")
    parser.add_argument("--singles", type=int, default=100, help="tasks submitted one by one afterwards")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds until it counts as failed")
    parser.add_argument("--database", default="", help="postgresql://… in place of one SQLite file")
    parser.add_argument("--redis", default="", help="redis://… in place of no live bus")
    given = parser.parse_args()
    kind = "PostgreSQL" if given.database else "SQLite"
    print(conditions(agents=given.agents, calls=given.calls, latency=f"{given.latency} s", store=kind))
    with tempfile.TemporaryDirectory() as folder, model_server(given.calls, given.latency) as url:
        repo = repository(Path(folder) / "repo")
        with fleet_of(given, url, Path(folder)) as (up, log):
            asyncio.run(measure(given, up, log, repo))


if __name__ == "__main__":
    main()
