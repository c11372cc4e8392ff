"""Celery on Redis: one prefork child for each worker process, prefetching, without results."""

# pyright: basic, reportMissingImports=false
# The peers are not installed beside the product.

from __future__ import annotations

import asyncio
import os
import sys

from celery import Celery

from benchmarks.subjects import marks, roles

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=100,
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)


@app.task(name="nothing")
def nothing(payload: str) -> None:
    """Do nothing but count."""
    del payload
    marks.hit()


async def submit() -> None:
    """Submit one; the client is synchronous, so concurrent callers take turns."""
    nothing.delay(roles.PAYLOAD)


async def main() -> None:
    """Play the role of the command line."""
    role, numbers = roles.role()
    if role == "submit":
        await roles.submit_many(submit, *numbers)
    elif role == "latency":
        await roles.latencies(submit, *numbers)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        options = ["--concurrency", "1", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
        options += ["-n", f"worker{os.getpid()}@%h"]
        module = "benchmarks.subjects.celery_"
        os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", module, "worker", *options])  # noqa: S606
    asyncio.run(main())
