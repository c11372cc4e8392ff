"""A worker in miniature for the kill tests: claim the task, open its tree, work it, say how it ended.

Started once, it has everything imported; each line on its standard input is a run, done by a forked process that may
be killed. It answers each with one line: the exit code (negative for a signal) and what the run reported.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.agents.stage import staged

import ezaigent.agents.loop
import ezaigent.agents.resilient
from ezaigent.core import failpoints

assert ezaigent.agents.loop
assert ezaigent.agents.resilient


async def work(home: Path, database: str, server_url: str) -> dict[str, Any]:
    """Give back what a dead worker held, then run the one task."""
    async with staged(home, database=database, server_url=server_url) as stage:
        await stage.queue.reclaim()
        claim = await stage.reclaim()
        outcome, tree = await stage.run(claim)
        await stage.queue.finish(claim, None)
        return {
            "resumed": claim.resumed,
            "steps": outcome.steps,
            "summary": outcome.summary,
            "checks": [check.ok for check in outcome.checks],
            "replayed": sum(step.replayed for step in stage.steps),
            "log": (tree.path / "log.txt").read_text(encoding="utf-8"),
            "note": (tree.path / "note.txt").read_text(encoding="utf-8"),
        }


def main() -> None:
    """Answer line by line until the input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(20)
            failpoints._armed.update(failpoints._parse(order["failpoints"]))  # pyright: ignore[reportPrivateUsage]
            report = asyncio.run(work(Path(order["home"]), order["database"], order["url"]))
            os.write(writing, json.dumps(report).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status), "report": json.loads(text) if text else {}}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
