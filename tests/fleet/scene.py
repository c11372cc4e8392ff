"""A whole fleet on a small scale: a repository, a scripted model server, a store, and workers here and elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.services import until
from tests.services.unmeasured import unmeasured

from ezaigent.core.events import Event
from ezaigent.core.settings import Settings
from ezaigent.testing import ModelServer, ToolCall
from ezaigent.wiring import Fleet, load_settings

MODEL = "anthropic:claude-haiku-4-5"
STEPS = [
    ToolCall("shell", {"command": "echo first >> log.txt"}),
    (
        ToolCall("write_file", {"path": "note.txt", "content": "a note\n"}),
        ToolCall("shell", {"command": "echo second >> log.txt"}),
    ),
    ToolCall("shell", {"command": "echo third >> log.txt"}),
    "All done.",
]
"""What the model does: three commands that each leave a mark, one file, then it says that it is done."""
CHECK = "test $(wc -l < log.txt) -eq 3"
LOG = "first\nsecond\nthird\n"
JOURNALED = 9
"""Steps of a whole run: four model calls, four tool calls, the checks."""


def git(folder: Path, *words: str) -> str:
    """Run git in ``folder`` and return what it prints."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.invalid"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(path: Path, files: Mapping[str, str] | None = None) -> Path:
    """Make a repository with one commit."""
    path.mkdir(parents=True)
    for name, text in (files or {"README.md": "# Project\n"}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    git(path, "init", "-q", "-b", "main")
    git(path, "add", "-A")
    git(path, "commit", "-q", "--allow-empty", "-m", "First")
    return path


@dataclass
class Scene:
    """Where everything is, and the settings that name it."""

    home: Path
    repo: Path
    server: ModelServer | None = None
    database: str | None = None
    redis: str | None = None
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def settings(self) -> Settings:
        """The settings of a fleet in this process."""
        given: dict[str, Any] = {
            "queue": {"lease": 2, "backoff": 0.05, "backoff_cap": 0.1},
            "fleet": {"drain": 20},
            "profiles": {"claude": {"model": MODEL}},
        }
        if self.server is not None:
            given["providers"] = {"anthropic": {"base_url": self.server.base_url("anthropic"), "api_key": "test"}}
        if self.database is not None:
            given["database_url"] = self.database
        if self.redis is not None:
            given["redis_url"] = self.redis
        return load_settings(home=self.home, **{**given, **self.more})

    def environment(self, **more: str) -> dict[str, str]:
        """The same settings as variables, for a worker in another process."""
        env = {
            "EZAIGENT_QUEUE__LEASE": "2",
            "EZAIGENT_FLEET__DRAIN": "20",
            "EZAIGENT_PROFILES__CLAUDE__MODEL": MODEL,
            "ANTHROPIC_API_KEY": "test",
        }
        if self.server is not None:
            env["EZAIGENT_PROVIDERS__ANTHROPIC__BASE_URL"] = self.server.base_url("anthropic")
        if self.database is not None:
            env["EZAIGENT_DATABASE_URL"] = self.database
        if self.redis is not None:
            env["EZAIGENT_REDIS_URL"] = self.redis
        return env | more

    def client(self) -> Fleet:
        """A fleet that only submits and looks."""
        return Fleet.connect(settings=self.settings)

    def working(self, agents: Mapping[str, int] | None = None) -> Fleet:
        """A fleet with a worker in this process."""
        return Fleet.embedded(settings=self.settings, agents=agents or {"claude": 1})

    def branch(self, task_id: str) -> dict[str, str]:
        """Return the files on the task's branch, as it was handed back to the repository."""
        name = f"ezaigent/{task_id}"
        files = git(self.repo, "ls-tree", "-r", "--name-only", name).splitlines()
        return {file: git(self.repo, "show", f"{name}:{file}") + "\n" for file in files}

    def branches(self) -> list[str]:
        """Return the names of all branches of the repository."""
        return git(self.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()


class Process:
    """A worker in a process of its own."""

    def __init__(self, zygote: Zygote, pid: int, log: Path) -> None:
        self.pid = pid
        self._zygote = zygote
        self._log = log
        self._code: int | None = None

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of ``kind`` that it printed."""
        found: list[dict[str, Any]] = []
        for line in self.said.splitlines():
            if line.startswith("{") and line.endswith("}"):
                fact = json.loads(line)
                if fact.get("kind") == kind:
                    found.append(fact)
        return found

    def logged(self, text: str) -> int:
        """Return in how many lines of its log ``text`` stands."""
        return sum(text in line for line in self.said.splitlines() if not line.startswith("{"))

    async def ready(self) -> None:
        """Wait until it works."""
        await until(lambda: '"ready":true' in self.said.replace(" ", "") or self.over, within=60, what="ready")
        assert self._code is None, f"the worker ended with {self._code}: {self.said}"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        if self._code is None:
            self._code = self._zygote.ended(self.pid)
        return self._code is not None

    async def ended(self, within: float = 60) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        await until(lambda: self.over, within=within, what=f"the worker ends; it said: {self.said[-2000:]}")
        assert self._code is not None
        return self._code

    async def stopped(self) -> None:
        """Wait until it is held by SIGSTOP."""
        await until(lambda: self._state() == "T", within=60, what="the worker is stopped")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


class Zygote:
    """The process that starts workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=unmeasured(),
        )

    def worker(self, scene: Scene, *, pools: str = "claude=1", more: Sequence[str] = (), **env: str) -> Process:
        """Start ``ezaigent worker`` on the scene, with ``more`` options."""
        log = self._folder / f"worker-{len(self._processes)}.log"
        argv = ["--home", str(scene.home), "worker", "--pools", pools, *more, "--json"]
        order = {"argv": argv, "env": scene.environment(**env), "log": str(log)}
        process = Process(self, self._ask({"start": order}), log)
        self._processes.append(process)
        return process

    def command(self, scene: Scene, *words: str, **env: str) -> Process:
        """Start ``ezaigent`` on the scene with these words."""
        log = self._folder / f"command-{len(self._processes)}.log"
        order = {"argv": ["--home", str(scene.home), *words], "env": scene.environment(**env), "log": str(log)}
        process = Process(self, self._ask({"start": order}), log)
        self._processes.append(process)
        return process

    def ended(self, pid: int) -> int | None:
        """Return the exit code of a process, or None while it runs."""
        return self._ask({"ended": pid})

    def kill_all(self) -> None:
        """End what a test left running."""
        for process in self._processes:
            if not process.over:
                process.send(signal.SIGKILL)

    def stop(self) -> None:
        """End the zygote and every worker."""
        self.kill_all()
        self._popen.communicate()

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(order) + "\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())


@contextlib.contextmanager
def zygote_in(folder: Path) -> Generator[Zygote]:
    """Run a zygote while the block runs."""
    zygote = Zygote(folder)
    try:
        yield zygote
    finally:
        zygote.stop()


def kinds(events: Sequence[Event]) -> list[str]:
    """Return the kinds of events."""
    return [event.kind for event in events]
