"""SIGKILL at every place of a step: the next run repeats no finished model call and no finished tool call."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agents.stage import make_repository, staged
from tests.services.unmeasured import unmeasured

from ezaigent.tasks import NewTask, TaskQueue
from ezaigent.testing import ModelServer, ToolCall, from_steps

PLACES = [
    "model.before=kill",
    "model.before=kill@3",
    "model.after=kill",
    "model.after=kill@3",
    "tool.before=kill",
    "tool.before=kill@2",
    "tool.mid=kill",
    "tool.mid=kill@2",
    "tool.after=kill",
    "tool.after=kill@3",
    "check.mid=kill",
    "check.mid=kill@2",
]
STEPS = [
    ToolCall("shell", {"command": "echo first >> log.txt"}),
    (
        ToolCall("write_file", {"path": "note.txt", "content": "a note\n"}),
        ToolCall("shell", {"command": "echo second >> log.txt"}),
    ),
    "I think that this is it.",
    ToolCall("shell", {"command": "echo third >> log.txt"}),
    "All done.",
]
CHECK = "test $(wc -l < log.txt) -eq 3"


class Workers:
    """Runs one worker after the other, each a process that may be killed."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.agents.run_once"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=unmeasured(),
        )

    def _ask(self, order: dict[str, str]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    async def run(self, home: Path, database: str, url: str, *, failpoints: str = "") -> tuple[int, dict[str, Any]]:
        """Run a worker to its end; return its exit code and its report."""
        order = {"home": str(home), "database": database, "url": url, "failpoints": failpoints}
        answer = await asyncio.to_thread(self._ask, order)
        return answer["code"], answer["report"]

    def stop(self) -> None:
        self._server.communicate()


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    started = Workers()
    yield started
    started.stop()


async def submit(home: Path, database: str) -> None:
    make_repository(home / "repo", {"README.md": "# Project\n"})
    async with staged(home, database=database, server_url="http://nowhere.invalid") as stage:
        await TaskQueue.submit(stage.queue, NewTask(prompt="Do it.", repo=str(home / "repo"), checks=(CHECK,)))


async def killed_and_resumed(workers: Workers, home: Path, database: str, places: list[str]) -> None:
    """Kill one worker after the other at ``places``, then let one finish, and look at what is left."""
    async with ModelServer(from_steps(STEPS)) as server:
        await submit(home, database)
        for place in places:
            code, _ = await workers.run(home, database, server.url, failpoints=place)
            assert code == -signal.SIGKILL, place
        code, report = await workers.run(home, database, server.url)

        assert code == 0
        assert report["resumed"]
        assert report["summary"] == "All done."
        assert report["checks"] == [True]
        assert report["log"] == "first\nsecond\nthird\n", "a finished command ran twice, or its work was lost"
        assert report["note"] == "a note\n"
        assert report["steps"] == 11
        assert server.repeated() == {}, "a finished model call was paid twice"
        assert len([record for record in server.requests if record.complete]) == len(STEPS)


@pytest.mark.parametrize("place", PLACES)
async def test_a_killed_run_is_resumed_without_repeating_anything(workers: Workers, tmp_path: Path, place: str) -> None:
    await killed_and_resumed(workers, tmp_path, f"sqlite:///{tmp_path}/store.db", [place])


async def test_a_run_survives_being_killed_again_and_again(workers: Workers, tmp_path: Path) -> None:
    places = ["tool.mid=kill", "tool.after=kill", "model.after=kill", "check.mid=kill", "model.before=kill@2"]
    await killed_and_resumed(workers, tmp_path, f"sqlite:///{tmp_path}/store.db", places)


@pytest.mark.postgres
async def test_the_journal_on_postgresql_resumes_alike(
    workers: Workers, tmp_path: Path, postgres_database: str
) -> None:
    await killed_and_resumed(workers, tmp_path, postgres_database, ["tool.mid=kill@2", "model.after=kill"])
