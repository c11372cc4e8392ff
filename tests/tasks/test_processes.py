"""Real processes on one store: they never share a task, and what was acknowledged survives their death."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from tests.tasks.desk import Desk

from ezaigent.tasks import NewTask, State

_ROOT = Path(__file__).parents[2]


async def process(*arguments: str) -> Process:
    command = (sys.executable, "-m", "tests.tasks.seller", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=_ROOT, env=dict(os.environ))


def lines(output: bytes) -> list[list[str]]:
    """Return the words of each whole line: a killed process may have been in the middle of one."""
    return [line.decode().split() for line in output.split(b"\n")[:-1]]


async def test_two_processes_that_claim_at_once_never_share_a_task(desk: Desk, database_url: str) -> None:
    tasks = await desk.queue.submit_many([NewTask(prompt="p", repo=f"/r{n % 3}") for n in range(400)])
    claimers = [await process(name, database_url) for name in ("w1", "w2")]
    for one in claimers:
        assert one.stdout is not None
        assert await asyncio.wait_for(one.stdout.readline(), 30) == b"ready\n"
    claimed = [lines((await one)[0]) for one in [asyncio.create_task(p.communicate(b"go\n")) for p in claimers]]
    everything = [tuple(words) for part in claimed for words in part]
    assert sorted(everything) == sorted((task.id, "1") for task in tasks)
    assert all(claimed), "one process got nothing: they did not run at once"
    assert (await desk.queue.stats()).states[State.DONE] == 400


async def test_what_was_acknowledged_survives_sigkill(desk: Desk, database_url: str) -> None:
    for _ in range(2):
        submitter = await process("submit", database_url)
        assert submitter.stdout is not None
        seen = b"".join([await asyncio.wait_for(submitter.stdout.readline(), 30) for _ in range(30)])
        submitter.kill()
        rest, _ = await submitter.communicate()
        acknowledged = {words[0] for words in lines(seen + rest)}
        assert len(acknowledged) >= 30
        stored = {task.id for task in await desk.queue.list(limit=100_000)}
        assert acknowledged <= stored
    events = [event.task_id for event in await desk.events() if event.kind == "task.submitted"]
    assert sorted(filter(None, events)) == sorted(task.id for task in await desk.queue.list(limit=100_000))
