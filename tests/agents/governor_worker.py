"""A worker process that calls a model through the governor; it prints how its calls went as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.agents.governed import Worker, settings_for

from ezaigent.core.errors import RunError
from ezaigent.live import open_bus


async def main(server: str, redis: str, calls: int) -> dict[str, int]:
    """Make so many calls at once."""
    bus = await open_bus(redis)
    worker = Worker(settings_for(server), bus)
    worker.model()  # imports the provider's library
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    async with worker.transport, worker.governor:
        answers = await asyncio.gather(*(worker.ask() for _ in range(calls)), return_exceptions=True)
    await bus.close()
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(one, RunError) for one in failed), failed
    return {"answered": calls - len(failed), "failed": len(failed), "parked": len(worker.told("model.parked"))}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
