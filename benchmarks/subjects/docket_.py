"""pydocket on Redis.

``BENCH_TUNED``: fifty tasks at a time (its pool has a hundred connections) and short pauses in place of its defaults.
"""

# pyright: basic, reportMissingImports=false
# The peers are not installed beside the product.

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import uvloop
from docket import Docket, Worker

from benchmarks.subjects import marks, roles

TUNED = (
    {
        "concurrency": 50,
        "minimum_check_interval": timedelta(milliseconds=5),
        "scheduling_resolution": timedelta(milliseconds=50),
    }
    if os.environ.get("BENCH_TUNED")
    else {}
)


async def nothing(payload: str) -> None:
    """Do nothing but count."""
    del payload
    marks.hit()


async def main() -> None:
    """Play the role of the command line."""
    role, numbers = roles.role()
    async with Docket(name="bench", url=os.environ["BENCH_REDIS"], execution_ttl=timedelta(0)) as docket:
        docket.register(nothing)
        submit = lambda: docket.add(nothing)(roles.PAYLOAD)  # noqa: E731
        if role == "submit":
            await roles.submit_many(submit, *numbers)
        elif role == "latency":
            await roles.latencies(submit, *numbers)
        elif role == "work":
            async with Worker(docket, **TUNED) as worker:
                working = asyncio.create_task(worker.run_forever())
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
                await asyncio.wait([working])


if __name__ == "__main__":
    uvloop.run(main())
