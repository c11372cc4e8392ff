"""DBOS on SQLite or PostgreSQL. ``BENCH_TUNED``: polls each 10 ms in place of each second."""

# pyright: basic, reportMissingImports=false
# The peers are not installed beside the product.

from __future__ import annotations

import asyncio
import os
import signal
import threading

from dbos import DBOS, DBOSConfig

from benchmarks.subjects import marks, roles

QUEUE = "bench"
TUNED = {"polling_interval_sec": 0.01, "worker_concurrency": 100} if os.environ.get("BENCH_TUNED") else {}


@DBOS.workflow()
async def nothing(payload: str) -> None:
    """Do nothing but count."""
    del payload
    marks.hit()


async def submit() -> None:
    """Queue one workflow."""
    await DBOS.enqueue_workflow_async(QUEUE, nothing, roles.PAYLOAD)


def main() -> None:
    """Play the role of the command line."""
    role, numbers = roles.role()
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": os.environ["BENCH_DATABASE"],
        "log_level": "ERROR",
        "application_version": "1",
        "executor_id": str(os.getpid()),
        "sys_db_pool_size": 50,
    }
    DBOS(config=config)
    if role in {"submit", "latency"}:
        DBOS.listen_queues([])  # this process only submits
    DBOS.launch()
    DBOS.register_queue(QUEUE, **TUNED)
    if role == "submit":
        asyncio.run(roles.submit_many(submit, *numbers))
    elif role == "latency":
        asyncio.run(roles.latencies(submit, *numbers))
    elif role == "work":
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        stop.wait()
        os._exit(0)
    DBOS.destroy()


if __name__ == "__main__":
    main()
