# ruff: noqa: A005 - only ever imported as benchmarks.queue
"""The queue beside its peers: durable submit, throughput with one and two workers, latency when idle.

``python -m benchmarks.queue [--rounds N] [--minutes M] [--only PART-OF-NAME]…``. All subjects take their turn in each
round, on the same servers, with the same payload; printed are medians over the rounds, and ratios as medians of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.services import PostgresServer, RedisServer

from benchmarks.conditions import conditions
from benchmarks.peers import REQUIREMENTS, PeersMissing, python_with_peers
from benchmarks.subjects.measure import Bench, Figures, StuckSubject, Subject
from benchmarks.subjects.roles import PAYLOAD

TUNED = {"BENCH_TUNED": "1"}
SQLITE, POSTGRES = "ezaigent, SQLite", "ezaigent, PostgreSQL + Redis"
SUBJECTS = (
    Subject(name=SQLITE, module="ezaigent_", tasks=4000, database="sqlite", redis=False, embedded=True),
    Subject(name=POSTGRES, module="ezaigent_", tasks=4000, database="postgresql"),
    Subject(name="taskiq, Redis list", module="taskiq_", tasks=2000),
    Subject(name="DBOS, SQLite, tuned", module="dbos_", tasks=300, database="sqlite", redis=False, env=TUNED),
    Subject(name="DBOS, PostgreSQL, tuned", module="dbos_", tasks=500, database="postgresql", redis=False, env=TUNED),
    Subject(name="Celery, Redis", module="celery_", tasks=800),
    Subject(name="pydocket, Redis, tuned", module="docket_", tasks=1000, env=TUNED),
    Subject(name="taskiq, Redis stream", module="taskiq_", tasks=2000, env={"BENCH_BROKER": "stream"}),
    Subject(name="pydocket, Redis, defaults", module="docket_", tasks=300),
    Subject(
        name="DBOS, PostgreSQL, defaults", module="dbos_", tasks=100, database="postgresql", redis=False, samples=8
    ),
)
"""In the order of their turns: when the time is over, the last ones are left out."""
RATIOS = (
    (SQLITE, "taskiq, Redis list", 3.0),
    (SQLITE, "taskiq, Redis stream", 3.0),
    (POSTGRES, "taskiq, Redis list", 3.0),
    (POSTGRES, "taskiq, Redis stream", 3.0),
    (SQLITE, "DBOS, SQLite, tuned", 15.0),
    (POSTGRES, "DBOS, PostgreSQL, tuned", 15.0),
)
LATENCIES = ((SQLITE, 10.0), (POSTGRES, 20.0))
Rounds = dict[str, dict[int, Figures]]


def measure(subjects: Sequence[Subject], rounds: int, peers: str | None, minutes: float) -> Rounds:
    """Let every subject take its turn in every round; one that fails is reported and left out of that round.

    No turn begins after so many minutes.
    """
    deadline = time.monotonic() + 60 * minutes
    found: Rounds = {subject.name: {} for subject in subjects}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        redis = RedisServer(folder / "redis")
        postgres = PostgresServer(folder / "postgres", durable=True)
        for server in (redis, postgres):
            server.start()
            stack.callback(server.stop)
        for number in range(rounds):
            for subject in subjects:
                python = peers if subject.peer else sys.executable
                if python is None:
                    continue
                if time.monotonic() > deadline:
                    print(f"round {number + 1}: no time left for {subject.name}", file=sys.stderr)
                    continue
                here = folder / f"{number}-{subject.name.replace(',', '').replace(' ', '-')}"
                here.mkdir()
                redis.flush()
                env = {"BENCH_REDIS": redis.url} if subject.redis else {}
                servers = [redis.pid] if subject.redis else []
                if subject.database == "sqlite":
                    env["BENCH_DATABASE"] = f"sqlite:///{here / 'store.sqlite'}"
                elif subject.database == "postgresql":
                    env["BENCH_DATABASE"] = postgres.create_database()
                    servers.append(postgres.pid)
                print(f"round {number + 1} of {rounds}: {subject.name}", file=sys.stderr)
                try:
                    found[subject.name][number] = Bench(subject, python, here, env, servers).run()
                except StuckSubject as error:
                    print(f"  left out: {error}", file=sys.stderr)
    return found


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def table(subjects: Sequence[Subject], found: Rounds) -> None:
    """Print the medians."""
    heads = ("submit/s", "submit/s", "drain/s", "drain/s", "CPU ms", "idle ms", "idle ms", "n")
    subheads = ("1 caller", "100", "1 worker", "2", "per task", "p50", "p95", "")
    for names in (heads, subheads):
        print(f"{'':<30}" + "".join(f"{name:>10}" for name in names))
    for subject in subjects:
        if rounds := list(found[subject.name].values()):
            rates = zip(
                *((one.submit_one, one.submit_many, one.drain_one, one.drain_two) for one in rounds), strict=True
            )
            latencies = [value for one in rounds for value in one.latencies]
            row = "".join(f"{statistics.median(rate):>10,.0f}" for rate in rates)
            row += f"{statistics.median(one.cpu for one in rounds):>10.2f}"
            row += f"{quantile(latencies, 0.5):>10.1f}{quantile(latencies, 0.95):>10.1f}{subject.tasks:>10,}"
            print(f"{subject.name:<30}{row}")


def ratios(found: Rounds) -> None:
    """Print how ours compares, with the goals."""
    print("\none worker, ours over the peer's (medians of the rounds' ratios; CPU: the peer's per task over ours)")
    for ours, peer, goal in RATIOS:
        mine, other = found.get(ours, {}), found.get(peer, {})
        if both := sorted(mine.keys() & other.keys()):
            faster = statistics.median(mine[number].drain_one / other[number].drain_one for number in both)
            cheaper = statistics.median(other[number].cpu / mine[number].cpu for number in both)
            met = "met" if faster >= goal else "NOT met"
            print(f"  {ours} / {peer}: {faster:.1f} x  (goal {goal:g}: {met}; CPU {cheaper:.1f} x)")
    for ours, goal in LATENCIES:
        if values := [value for one in found.get(ours, {}).values() for value in one.latencies]:
            slow = quantile(values, 0.95)
            met = "met" if slow <= goal else "NOT met"
            print(f"  idle latency of {ours}: p95 {slow:.1f} ms  (goal {goal:g}: {met})")


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(1)  # in order, so that the servers are stopped, too


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="subjects whose name has this part")
    parser.add_argument("--minutes", type=float, default=5.0, help="no turn begins after so many minutes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    subjects = [one for one in SUBJECTS if not options.only or any(part in one.name for part in options.only)]
    peers = None
    if any(subject.peer for subject in subjects):
        try:
            peers = python_with_peers()
        except PeersMissing as error:
            print(f"the peers cannot be installed here, so only ours is measured: {error}", file=sys.stderr)
    found = measure(subjects, options.rounds, peers, options.minutes)
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()]
    print(
        conditions(
            rounds=max(len(rounds) for rounds in found.values()),
            payload=f"{len(PAYLOAD)} characters",
            redis="no persistence",
            postgresql="fsync on",
            sqlite="WAL and synchronous FULL (ours)",
            peers=" ".join(filter(None, lines)),
        )
    )
    table(subjects, found)
    ratios(found)


if __name__ == "__main__":
    main()
