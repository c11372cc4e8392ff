"""A process that tests start and kill: it submits, or claims, and says what is certain on its standard output."""
# ruff: noqa: T201 - printing is what it is for

from __future__ import annotations

import asyncio
import sys

from tests.tasks.desk import slots

from ezaigent.core.settings import QueueSettings
from ezaigent.store import Database
from ezaigent.tasks import NewTask, TaskQueue


async def submit(queue: TaskQueue) -> None:
    """Submit without end; print each id once it is acknowledged."""

    async def caller() -> None:
        while True:
            print((await queue.submit(NewTask(prompt="p", repo="r"))).id, flush=True)

    await asyncio.gather(*(caller() for _ in range(8)))


async def claim(queue: TaskQueue, name: str) -> None:
    """Wait for the word, then claim until there is nothing left; print each task and its fence."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    while claims := await queue.claim(name, slots(7)):
        for one in claims:
            print(one.task.id, one.fence, flush=True)
        await queue.finish_many([(one, None) for one in claims])


async def main() -> None:
    """Play the part that the command line names."""
    part, url = sys.argv[1:3]
    db = await Database.open(url)
    queue = TaskQueue(db, QueueSettings())
    await (submit(queue) if part == "submit" else claim(queue, part))
    await db.close()


if __name__ == "__main__":
    asyncio.run(main())
