"""Workflows of durable steps with DBOS, one after the other. Arguments: runs, steps in a run, bytes of a result."""

# pyright: basic, reportMissingImports=false
# The peers are not installed beside the product.

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from dbos import DBOS, DBOSConfig

RUNS, STEPS, SIZE = map(int, sys.argv[1:])


@DBOS.step()
async def step(number: int) -> str:
    """Return what a tool or a model would."""
    return f"{number}" + "x" * SIZE


@DBOS.workflow()
async def run() -> float:
    """Take the steps; return their seconds."""
    began = time.perf_counter()
    for number in range(STEPS):
        await step(number)
    return time.perf_counter() - began


async def measure(runs: int) -> list[float]:
    """Return the milliseconds per step of each run, after one to warm up."""
    await run()
    return [await run() * 1000 / STEPS for _ in range(runs)]


def main() -> None:
    """Print the milliseconds per step of each run as JSON."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": os.environ["BENCH_DATABASE"],
        "log_level": "ERROR",
        "application_version": "1",
    }
    DBOS(config=config)
    DBOS.listen_queues([])
    DBOS.launch()
    print(json.dumps(asyncio.run(measure(RUNS))))
    DBOS.destroy()


if __name__ == "__main__":
    main()
