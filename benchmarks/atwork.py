"""What the benchmarks of the API stand on: a full queue, the server, and a fleet beside it that works at a given pace.

Three processes on one SQLite file: the server (``ezaigent up --no-worker``), the fleet (this module, run as a program),
and the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

CLAIMS, STEPS = 10, 50
"""What the fleet does in a second: tasks claimed and finished, steps told."""


async def fill(home: Path, tasks: int) -> str:
    """Write the tasks, nearly all of them done, and return a token."""
    from ezaigent.store import Connection, Sql
    from ezaigent.tasks import NewTask
    from ezaigent.wiring import Fleet, accounts

    done = Sql("UPDATE tasks SET state = 'done', finished_at = created_at + 60 WHERE substr(id, -1) <> '0'")
    async with Fleet.connect(home) as fleet:
        for start in range(0, tasks, 1000):
            await fleet.services.queue.submit_many(
                [
                    NewTask(
                        prompt=f"Mend number {number} of the tests. " * 20,
                        repo=f"/srv/project-{number % 50}",
                        title=f"Mend number {number}",
                        profile=None if number % 3 else "claude",
                    )
                    for number in range(start, min(start + 1000, tasks))
                ]
            )

        def settle(conn: Connection) -> int:
            return done.run(conn)

        await fleet.services.db.write(settle)
        _, token = await accounts(fleet).create_token(
            "bench", "read", owner=None, days=None, by="bench", address="bench"
        )
        return token


async def work(home: Path, agents: int, seconds: float) -> None:
    """Be a fleet: a worker with many agents that claims, tells steps and finishes."""
    from ezaigent.fleet import WorkerInfo, liveness, queries, seats
    from ezaigent.store import Connection, NewEvent, emit_many
    from ezaigent.tasks import Slot
    from ezaigent.wiring import Fleet

    async with Fleet.connect(home) as fleet:
        services = fleet.services
        worker = f"bench-{os.getpid()}"
        with liveness.hold(services.locks, worker):
            info = WorkerInfo(id=worker, host=socket.gethostname(), pid=os.getpid(), version="0", sandbox="off")

            def enter(conn: Connection) -> tuple[str, ...]:
                queries.enter(conn, info)
                names = queries.agents_of(conn, info, {"claude": agents}).agents
                seats.ready(conn, worker, names)
                return names

            names = await services.db.write(enter)
            slots = [Slot(agent=name, profile="claude") for name in names]
            end = time.monotonic() + seconds
            turn = 0
            while time.monotonic() < end:
                began = time.monotonic()
                if turn % 10 == 0:
                    claims = await services.queue.claim(worker, random.sample(slots, CLAIMS))
                    await services.queue.finish_many([(claim, None) for claim in claims])

                def step(conn: Connection) -> None:
                    queries.seen(conn, worker)
                    data = {"sent": time.time(), "name": "shell", "what": "tool"}
                    emit_many(conn, [NewEvent("run.step", agent=slots[0].agent, data=data)] * (STEPS // 10))

                await services.db.write(step)
                turn += 1
                await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - began)))


@contextmanager
def at_work(home: Path, *, agents: int, seconds: float) -> Generator[str]:
    """Serve what is in ``home``, with a fleet beside it for so many seconds at the most; yield the server's address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "up", "--no-worker", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, "EZAIGENT_HOME": str(home)},
    )
    try:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        words = [str(home), "--agents", str(agents), "--seconds", str(seconds)]
        fleet = subprocess.Popen([sys.executable, "-m", "benchmarks.atwork", *words])
        try:
            time.sleep(2)
            yield ready["url"]
        finally:
            fleet.kill()
            fleet.wait()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def main() -> None:
    """Be the fleet."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(work(given.home, given.agents, given.seconds))


if __name__ == "__main__":
    main()
