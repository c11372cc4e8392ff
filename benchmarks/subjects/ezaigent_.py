"""Ez Aigent's own queue: a worker of a hundred agents whose tasks do nothing.

It claims for all of them at once and finishes all of them at once: never more than a hundred tasks at a time, which is
what the peers are given, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop

from benchmarks.subjects import marks, roles
from ezaigent.core.settings import QueueSettings
from ezaigent.live import LiveBus, open_bus
from ezaigent.store import Database
from ezaigent.tasks import NewTask, Slot, TaskQueue, bell

AGENTS = 100
TASK = NewTask(prompt=roles.PAYLOAD, repo="/srv/repositories/example")
WORKER = f"worker-{os.getpid()}"


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[TaskQueue, LiveBus], None]:
    """Open the queue that the environment names."""
    db = await Database.open(os.environ["BENCH_DATABASE"])
    bus = await open_bus(os.environ.get("BENCH_REDIS"))
    try:
        yield TaskQueue(db, QueueSettings(), bus), bus
    finally:
        await bus.close()
        await db.close()


async def work(queue: TaskQueue, bus: LiveBus, *, count_begun: bool) -> None:
    """Claim for every agent at once, finish all that was claimed at once, wait for the bell when there is nothing."""
    slots = [Slot(agent=f"{WORKER}-{number}", profile="mechanic") for number in range(AGENTS)]
    while True:
        claims = await queue.claim(WORKER, slots)
        if not claims:
            await bus.wait([bell(None), bell("mechanic")], 0.25)
            continue
        if count_begun:
            marks.hit(len(claims))
        await queue.finish_many([(claim, None) for claim in claims])
        if not count_begun:
            marks.hit(len(claims))


async def main() -> None:
    """Play the role of the command line."""
    role, numbers = roles.role()
    async with opened() as (queue, bus):
        submit = lambda: queue.submit(TASK)  # noqa: E731 - it is passed on, not called here
        match role:
            case "submit":
                await roles.submit_many(submit, *numbers)
            case "latency":
                await roles.latencies(submit, *numbers)
            case "embedded-latency":
                working = asyncio.create_task(work(queue, bus, count_begun=True))
                await roles.latencies(submit, *numbers)
                working.cancel()
                await asyncio.wait([working])
            case "work" | "work-latency":
                working = asyncio.create_task(work(queue, bus, count_begun=role == "work-latency"))
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
                await asyncio.wait([working])
            case _:
                pass  # prepare: opening has made the schema


if __name__ == "__main__":
    uvloop.run(main())
