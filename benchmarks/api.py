"""The HTTP API: time of reads among many tasks and agents while the fleet works, and from an event to its clients.

Reads alone, events alone, then both at once. Three processes on one SQLite file: the server (``ezaigent up
--no-worker``), a fleet that claims, steps and finishes at a given pace, and the clients here. The reads are an open
loop: one starts when its time has come, whether the one before has been answered or not, and its time counts from then.
An event's time is from just before its transaction to the moment when a client has it whole, for every client.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson

from benchmarks.atwork import CLAIMS, STEPS, at_work, fill
from benchmarks.conditions import conditions

READ_GOAL = 0.050
EVENT_GOAL = 0.200
WARM_UP = 2.0


async def read_all(
    session: aiohttp.ClientSession, rate: float, seconds: float
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Send reads at ``rate`` and return their times by route, and how many went wrong by reason."""
    async with session.get("/api/v1/tasks?limit=500") as answer:
        page = await answer.json()
    ids = [item["id"] for item in page["items"]]
    old = f"{ids[-1][:9]}0000000"
    routes = {
        "tasks, first page": lambda: "/api/v1/tasks",
        "tasks, a later page": lambda: f"/api/v1/tasks?cursor={old}",
        "tasks by state": lambda: "/api/v1/tasks?state=queued&state=running",
        "tasks by repository": lambda: f"/api/v1/tasks?repo=/srv/project-{random.randrange(50)}",
        "tasks by words": lambda: f"/api/v1/tasks?text=number%20{random.randrange(100)}",
        "one task": lambda: f"/api/v1/tasks/{random.choice(ids)}",
        "agents": lambda: "/api/v1/agents",
        "queue": lambda: "/api/v1/queue",
        "costs": lambda: "/api/v1/costs?by=model",
    }
    times: dict[str, list[float]] = defaultdict(list)
    wrong: dict[str, int] = defaultdict(int)

    async def one(name: str, path: str, due: float, *, counts: bool) -> None:
        try:
            async with session.get(path) as answer:
                await answer.read()
                if answer.status != 200:
                    wrong[f"{name}: {answer.status}"] += 1
        except aiohttp.ClientError as error:
            wrong[f"{name}: {type(error).__name__}"] += 1
        if counts:
            times[name].append(time.perf_counter() - due)

    begun = time.perf_counter()
    names = list(routes)
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            name = names[number % len(names)]
            group.create_task(one(name, routes[name](), due, counts=due - begun > WARM_UP))
    return times, wrong


async def listen(session: aiohttp.ClientSession, after: float, times: list[float], got: list[int]) -> None:
    """Read the stream and note how old each event is when it is here."""
    async with session.get("/api/v1/events?kind=run.step", timeout=aiohttp.ClientTimeout(total=None)) as answer:
        async for line in answer.content:
            if line.startswith(b"data: "):
                now = time.time()
                event = orjson.loads(line[6:])
                got.append(event["seq"])
                if now > after:
                    times.append(now - event["data"]["sent"])


def at(times: Sequence[float], percent: int) -> float:
    """Return a percentile in milliseconds."""
    return statistics.quantiles(times, n=100)[percent - 1] * 1000


def spread(times: Sequence[float]) -> str:
    """Return the percentiles for people."""
    p50, p95, p99 = (at(times, percent) for percent in (50, 95, 99))
    return f"p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   p99 {p99:7.1f} ms   n={len(times)}"


async def measure(url: str, token: str, *, rate: float, clients: int, seconds: float) -> None:
    """Read, listen, or both at the same time; print what it took."""
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0)
    print(f"{rate:.0f} reads a second, {clients} event clients")
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        events: list[float] = []
        heard: list[list[int]] = [[] for _ in range(clients)]
        after = time.time() + WARM_UP
        listeners = [asyncio.create_task(listen(session, after, events, mine)) for mine in heard]
        if rate:
            times, wrong = await read_all(session, rate, seconds)
            tell_reads(times, wrong)
        else:
            await asyncio.sleep(seconds)
        for one in listeners:
            one.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    if clients:
        tell_events(events, heard)


def tell_reads(times: dict[str, list[float]], wrong: dict[str, int]) -> None:
    """Print the times of reads."""
    for name, found in times.items():
        print(f"  {name:<22} {spread(found)}")
    every = [one for found in times.values() for one in found]
    print(f"  {'all reads':<22} {spread(every)}")
    print(f"  goal: p95 <= {READ_GOAL * 1000:.0f} ms: {'met' if at(every, 95) <= READ_GOAL * 1000 else 'MISSED'}")
    print(f"  answers that were no 200: {dict(wrong) or 'none'}")


def tell_events(events: list[float], heard: list[list[int]]) -> None:
    """Print the age of events, and whether every client got the same."""
    print(f"  {'event to client':<22} {spread(events)}")
    print(f"  goal: p95 <= {EVENT_GOAL * 1000:.0f} ms: {'met' if at(events, 95) <= EVENT_GOAL * 1000 else 'MISSED'}")
    first, last = max(mine[0] for mine in heard), min(mine[-1] for mine in heard)
    shared = [[seq for seq in mine if first <= seq <= last] for mine in heard]
    good = all(mine == shared[0] for mine in shared) and len(set(shared[0])) == len(shared[0])
    print(f"  all {len(heard)} clients got the same {len(shared[0])} events, each once: {good}")


def main() -> None:
    """Fill, start the server and the fleet, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="reads a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each of the three parts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        token = asyncio.run(fill(home, given.tasks))
        with at_work(home, agents=given.agents, seconds=3 * given.seconds + 60) as url:
            print(
                conditions(
                    tasks=given.tasks,
                    agents=given.agents,
                    seconds=f"3 x {given.seconds:.0f}",
                    fleet=f"{CLAIMS} tasks and {STEPS} steps a second",
                )
            )
            for rate, clients in ((given.rate, 0), (0.0, given.clients), (given.rate, given.clients)):
                asyncio.run(measure(url, token, rate=rate, clients=clients, seconds=given.seconds))


if __name__ == "__main__":
    main()
