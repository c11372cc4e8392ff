"""A worker of the product whose tasks are short: they sleep, and some of them make one real commit.

Everything but what a task does is the product's own: claims, leases, heartbeats, presence, takeovers, suspects that run
in a process of their own, and, for tasks that commit, worktrees, branches and handing them back.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import uvloop

from ezaigent.agents import Controls, Job, Outcome, Profile
from ezaigent.core.errors import Drained, StaleFence, StoreUnavailable
from ezaigent.fleet import Conductor
from ezaigent.tasks import Claim
from ezaigent.wiring import Services, load_settings, open_conductor, open_services, open_worker
from ezaigent.wiring.apart import work

COMMIT = "commit"
"""Title of a task that makes a commit; the prompt of every task is the seconds it takes."""
APART = (sys.executable, "-m", "benchmarks.subjects.chaos_", "apart")


class Writer:
    """The runtime of tasks that commit: one line in one file, whatever was there."""

    def blocked(self, profile: Profile) -> None:
        """There is no model that could be."""
        del profile

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take no interest in models."""
        del kind, data

    async def checkpoint(self, claim: Claim) -> str | None:
        """Keep nothing between runs."""
        del claim

    async def run(self, job: Job) -> Outcome:
        """Write the file."""
        await asyncio.sleep(float(job.claim.task.prompt))
        await job.controls.gate()
        (job.workspace.path / f"{job.claim.task.id}.txt").write_text("done\n", encoding="utf-8")
        return Outcome(summary="Written.", checks=(), steps=1, checkpoint=None)


@dataclass(frozen=True, kw_only=True)
class Short(Conductor):
    """Conducts a task that commits as the product does; any other one sleeps and is done."""

    async def conduct(self, claim: Claim, controls: Controls) -> None:
        """Run ``claim`` to its end."""
        if claim.task.title == COMMIT:
            await super().conduct(claim, controls)
            return
        with suppress(StaleFence):
            try:
                with controls.running():
                    await asyncio.sleep(float(claim.task.prompt))
            except Drained:
                await self.queue.release(claim, "the worker stops")
                return
            while True:
                try:
                    await self.queue.finish(claim, None)
                except StoreUnavailable:
                    await asyncio.sleep(0.2)
                else:
                    return


@asynccontextmanager
async def conducting(services: Services) -> AsyncGenerator[Conductor]:
    """Open the product's conductor with the short tasks in place of agents."""
    async with open_conductor(services) as real:
        fields = {name: getattr(real, name) for name in Conductor.__dataclass_fields__}
        yield replace(Short(**fields), runtime=Writer())


async def serve(agents: int) -> None:
    """Work until SIGTERM."""
    async with (
        open_services(load_settings()) as services,
        open_worker(services, {"mechanic": agents}, conducting=conducting, apart=APART) as worker,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()


def zygote() -> None:
    """Fork a worker for each line of input, a number of agents, and print its process id: nothing is loaded twice."""
    for name in (
        "ezaigent.agents.loop",
        "ezaigent.fleet.worker",
        "ezaigent.live.redis",
        "ezaigent.store.postgres",
        "ezaigent.wiring.apart",
    ):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are nobody's to bury
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            try:
                uvloop.run(serve(int(line)))
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "apart":
        uvloop.run(work(conducting))
    else:
        zygote()
