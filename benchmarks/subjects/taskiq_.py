"""taskiq on Redis. ``BENCH_BROKER``: ``stream`` acknowledges each task, ``list`` loses what a killed worker held."""

# pyright: basic, reportMissingImports=false
# The peers are not installed beside the product.

from __future__ import annotations

import asyncio
import os
import sys

from taskiq_redis import ListQueueBroker, RedisStreamBroker

from benchmarks.subjects import marks, roles

URL = os.environ["BENCH_REDIS"]
# redis-py 8 gives up reading after 5 s by default, which is shorter than taskiq's blocking reads.
broker = (
    RedisStreamBroker(URL, xread_count=100, consumer_id="0", socket_timeout=None)
    if os.environ.get("BENCH_BROKER") == "stream"
    else ListQueueBroker(URL, socket_timeout=None)
)


@broker.task(task_name="nothing")
async def nothing(payload: str) -> None:
    """Do nothing but count."""
    del payload
    marks.hit()


async def main() -> None:
    """Play the role of the command line."""
    role, numbers = roles.role()
    await broker.startup()
    submit = lambda: nothing.kiq(roles.PAYLOAD)  # noqa: E731
    if role == "submit":
        await roles.submit_many(submit, *numbers)
    elif role == "latency":
        await roles.latencies(submit, *numbers)
    await broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        # Its own command line, which makes its own worker process and event loop (uvloop where it is installed).
        options = ["--workers", "1", "--max-async-tasks", "100", "--max-prefetch", "100", "--log-level", "ERROR"]
        module = "benchmarks.subjects.taskiq_:broker"
        os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", module, *options])  # noqa: S606
    asyncio.run(main())
