"""What every subject is asked to do.

``prepare``             make the schema
``submit N CALLERS``    submit N tasks from so many concurrent callers; print the seconds
``work``                run tasks until SIGTERM, counting each with ``marks.hit``
``latency N``           submit N tasks one by one to an idle worker; print the milliseconds until each one began

Only the standard library: this module is imported into the peers' environments, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.subjects import marks

PAYLOAD = "Mend the failing test of the parser for dates and say what was wrong. " * 8
"""What each task carries: 560 characters. It names no file: we would run tasks of one file one after the other."""

Submit = Callable[[], Awaitable[object]]


async def submit_many(submit: Submit, count: int, callers: int) -> None:
    """Submit ``count`` tasks from ``callers`` concurrent callers and print the seconds."""
    await submit()  # connections are made by the first one
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await submit()

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(callers)))
    print(json.dumps({"seconds": time.monotonic() - began}))


async def latencies(submit: Submit, count: int) -> None:
    """Submit to an idle worker and print the milliseconds until each task began."""
    folder = Path(os.environ["BENCH_MARKS"])
    taken: list[float] = []
    pause = random.Random(1)
    for _ in range(count + 5):
        before = sum(number for number, _ in marks.read(folder))
        await asyncio.sleep(pause.uniform(0.02, 0.06))
        began = time.monotonic()
        await submit()
        while sum(number for number, _ in marks.read(folder)) == before:
            await asyncio.sleep(0.0005)
            if time.monotonic() - began > 20:
                raise SystemExit("a task was not begun within 20 s")
        taken.append((max(last for _, last in marks.read(folder)) - began) * 1000)
    print(json.dumps({"ms": taken[5:]}))  # the first ones warm up


def role() -> tuple[str, list[int]]:
    """Return what this process is to do."""
    return sys.argv[1], [int(value) for value in sys.argv[2:]]
