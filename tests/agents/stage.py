"""A whole real stage for runs: a repository, workspaces in a sandbox, a database, a queue, a runtime."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_ai.models import Model

from ezaigent.agents import Controls, Job, NativeRuntime, Outcome, Profile, Runtime, Step, build_runtime
from ezaigent.core.events import Event
from ezaigent.core.settings import (
    CostSettings,
    ProviderSettings,
    QueueSettings,
    SandboxSettings,
    Settings,
    WorkspaceSettings,
)
from ezaigent.costs import CostBook
from ezaigent.store import Database, EventLog
from ezaigent.tasks import Claim, NewTask, Slot, TaskQueue
from ezaigent.testing import ModelServer
from ezaigent.workspaces import Workspace, Workspaces, detect

AGENT = "tester-1"
PROFILE = Profile(name="tester", model="openai:gpt-test", context_window=200_000)


def make_repository(path: Path, files: dict[str, str]) -> Path:
    """Make a repository with one commit."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.invalid"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "First"]):
        subprocess.run(["git", *identity, *words], cwd=path, env=env, check=True, capture_output=True)
    return path


def settings_for(home: Path, server_url: str) -> Settings:
    """Settings in which all five providers are the scripted server."""
    paths = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/google", "mistral": "/mistral"}
    providers = {
        name: ProviderSettings.model_validate({"base_url": server_url + path, "api_key": "test-key", "timeout": 20})
        for name, path in (paths | {"deepseek": "/deepseek/v1"}).items()
    }
    return Settings(home=home, providers=providers)


@dataclass
class Stage:
    """What a run needs."""

    home: Path
    repo: Path
    db: Database
    queue: TaskQueue
    workspaces: Workspaces
    runtime: Runtime
    profile: Profile
    steps: list[Step] = field(default_factory=list[Step])

    async def claim(self, prompt: str = "Do it.", **more: Any) -> Claim:
        """Submit a task and claim it."""
        await self.queue.submit(NewTask(prompt=prompt, repo=str(self.repo), **more))
        return await self.reclaim()

    async def reclaim(self, agent: str = AGENT) -> Claim:
        """Claim the one claimable task."""
        claims = await self.queue.claim("worker", [Slot(agent=agent, profile=self.profile.name)])
        assert len(claims) == 1
        return claims[0]

    async def open(self, claim: Claim) -> Workspace:
        """Open the workspace as the fleet does, restored to the last journaled checkpoint."""
        return await self.workspaces.open(
            task_id=claim.task.id,
            repo=claim.task.repo,
            base=claim.task.base,
            checkpoint=await self.runtime.checkpoint(claim),
            resumed=claim.resumed,
        )

    async def run(
        self,
        claim: Claim,
        *,
        controls: Controls | None = None,
        check_rounds: int = 3,
        workspace: Workspace | None = None,
    ) -> tuple[Outcome, Workspace]:
        """Open the workspace and work the task in it."""
        tree = workspace or await self.open(claim)
        job = Job(
            claim=claim,
            profile=self.profile,
            workspace=tree,
            controls=controls or Controls(),
            check_rounds=check_rounds,
            on_step=self.steps.append,
        )
        try:
            return await self.runtime.run(job), tree
        finally:
            await tree.close()

    async def events(self, *kinds: str) -> list[Event]:
        """Return the events of these kinds, or all."""
        return await EventLog(self.db).read(0, limit=10_000, kinds=list(kinds) or None)

    @property
    def told(self) -> list[tuple[str, str]]:
        """What each step was, and its name."""
        return [(step.what, step.name) for step in self.steps]


@asynccontextmanager
async def staged(
    home: Path,
    *,
    files: dict[str, str] | None = None,
    database: str | None = None,
    server: ModelServer | None = None,
    server_url: str = "",
    model: Model | None = None,
    profile: Profile = PROFILE,
    costs: CostSettings | None = None,
    sandbox: SandboxSettings | None = None,
) -> AsyncGenerator[Stage]:
    """Set the stage below ``home``: with ``server`` (or its URL) behind all providers, or with ``model`` itself."""
    home.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a moment, before anything runs
    repo = home / "repo"
    if not repo.exists():
        make_repository(repo, files or {"README.md": "# Project\n"})
    confined = await detect(sandbox or SandboxSettings())
    db = await Database.open(database or f"sqlite:///{home}/store.db")
    try:
        queue = TaskQueue(db, QueueSettings(lease=60))
        workspaces = Workspaces(home / "workspaces", WorkspaceSettings(publish=False), confined)
        if model is not None:
            fixed: Model = model

            def always(job: Job, meter: object, journal: object) -> Model:
                del job, meter, journal
                return fixed

            runtime = NativeRuntime(db, always)
            yield Stage(home, repo, db, queue, workspaces, runtime, profile)
            return
        settings = settings_for(home, server.url if server else server_url)
        async with build_runtime(db, settings, CostBook(db, costs or CostSettings()), None) as built:
            yield Stage(home, repo, db, queue, workspaces, built, profile)
    finally:
        await db.close()
