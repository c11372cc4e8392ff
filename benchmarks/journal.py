"""The journal beside DBOS and a bare insert: what one durable step costs in a run of ten.

``python -m benchmarks.journal [--runs N] [--rounds N]``. The subjects take their turn in each round on the same
databases, one run after the other; printed are medians over the runs, and ratios as medians of the rounds' ratios.

Ours is ``RunJournal.append``: in one transaction the fence, the step, its counts, and its event. DBOS records the
step's output. The bare insert is one row of the same size in one transaction through the database's own driver.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from tests.services import PostgresServer

from benchmarks.conditions import conditions
from benchmarks.peers import PeersMissing, python_with_peers

STEPS = 10
PAYLOAD = "x" * 500
GOAL = 1 / 8
DATABASES = ("SQLite", "PostgreSQL")

Measure = Callable[[str, int], list[float]]
"""Given a fresh database's address and a number of runs: milliseconds per step, one figure for each run."""


def ours(url: str, runs: int) -> list[float]:
    """Measure the product's journal."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the product's command line does
        return runner.run(_ours(url, runs))


async def _ours(url: str, runs: int) -> list[float]:
    from ezaigent.agents.journal import Finished, RunJournal
    from ezaigent.core.settings import QueueSettings
    from ezaigent.store import Database
    from ezaigent.tasks import NewTask, Slot, TaskQueue

    db = await Database.open(url)
    queue = TaskQueue(db, QueueSettings(lease=3600))
    await queue.submit_many([NewTask(prompt="bench", repo="/bench") for _ in range(runs + 1)])
    claims = await queue.claim("bench", [Slot(agent=f"bench-{n}", profile="bench") for n in range(runs + 1)])
    done = Finished(PAYLOAD.encode(), "shell")
    found: list[float] = []
    for claim in claims:
        journal = RunJournal(db, claim, [])
        began = time.perf_counter()
        for _ in range(STEPS):
            await journal.append("bench", "tool", done, started=time.monotonic())
        found.append((time.perf_counter() - began) * 1000 / STEPS)
    await db.close()
    return found[1:]  # the first one warms up


def bare(url: str, runs: int) -> list[float]:
    """Measure the database itself: one insert, one commit."""
    table = "CREATE TABLE steps (run INTEGER, seq INTEGER, payload TEXT, PRIMARY KEY (run, seq))"
    if not url.startswith("sqlite"):
        return asyncio.run(_bare_postgres(url, runs, table))
    conn = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA synchronous=FULL")
    conn.execute(table)
    found: list[float] = []
    for run in range(runs + 1):
        began = time.perf_counter()
        for seq in range(STEPS):
            conn.execute("INSERT INTO steps VALUES (?, ?, ?)", (run, seq, PAYLOAD))
        found.append((time.perf_counter() - began) * 1000 / STEPS)
    conn.close()
    return found[1:]


async def _bare_postgres(url: str, runs: int, table: str) -> list[float]:
    from importlib import import_module

    asyncpg: Any = import_module("asyncpg")  # it has no types

    conn = await asyncpg.connect(url)
    await conn.execute(table)
    found: list[float] = []
    for run in range(runs + 1):
        began = time.perf_counter()
        for seq in range(STEPS):
            await conn.execute("INSERT INTO steps VALUES ($1, $2, $3)", run, seq, PAYLOAD)
        found.append((time.perf_counter() - began) * 1000 / STEPS)
    await conn.close()
    return found[1:]


def dbos_with(python: str) -> Measure:
    """Return the measurement of DBOS with the Python that has it."""

    def measure(url: str, runs: int) -> list[float]:
        env = {**os.environ, "BENCH_DATABASE": url, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [python, "-m", "benchmarks.subjects.dbos_steps"]
        command += map(str, (runs, STEPS, len(PAYLOAD)))
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"DBOS failed: {done.stderr.strip()[-400:]}")
        found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
        return found

    return measure


def report(database: str, found: dict[str, list[list[float]]]) -> None:
    """Print one database's medians and ratios."""
    middle = {name: [statistics.median(runs) for runs in rounds] for name, rounds in found.items()}
    for name, rounds in found.items():
        runs = sorted(value for one in rounds for value in one)
        slow = runs[int(0.95 * len(runs))]
        print(f"{database:<12}{name:<12}{statistics.median(runs):8.2f} ms a step, p95 {slow:.2f} (n={len(runs)} runs)")
    mine = middle["ours"]
    over = statistics.median(one / other for one, other in zip(mine, middle["bare insert"], strict=True))
    print(f"{database:<12}ours / bare insert: {over:.1f} x")
    if "DBOS" in middle:
        share = statistics.median(one / other for one, other in zip(mine, middle["DBOS"], strict=True))
        met = "met" if share <= GOAL else "NOT met"
        print(f"{database:<12}ours / DBOS: 1/{1 / share:.1f}  (goal 1/{1 / GOAL:.0f}: {met})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="runs of ten steps in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    subjects: dict[str, Measure] = {"ours": ours, "bare insert": bare}
    try:
        subjects["DBOS"] = dbos_with(python_with_peers())
    except PeersMissing as error:
        print(f"DBOS cannot be installed here, so only ours is measured: {error}", file=sys.stderr)
    found = {database: {name: list[list[float]]() for name in subjects} for database in DATABASES}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        postgres = PostgresServer(folder / "postgres", durable=True)
        postgres.start()
        try:
            for number in range(given.rounds):
                for name, measure in subjects.items():
                    lite = f"sqlite:///{folder}/{number}-{name.replace(' ', '-')}.sqlite"
                    found["SQLite"][name].append(measure(lite, given.runs))
                    found["PostgreSQL"][name].append(measure(postgres.create_database(), given.runs))
        finally:
            postgres.stop()
    print(
        conditions(
            steps_in_a_run=STEPS,
            payload_bytes=len(PAYLOAD),
            runs=given.runs,
            rounds=given.rounds,
            sqlite="WAL and synchronous FULL (ours, bare)",
            postgresql="fsync on",
            loop="uvloop (ours), asyncio (DBOS)",
        )
    )
    for database in DATABASES:
        report(database, found[database])


if __name__ == "__main__":
    main()
