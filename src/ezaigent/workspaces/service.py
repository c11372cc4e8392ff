"""The door's main object: opens, measures, cleans and merges the workspaces below one data folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ezaigent.core.change import Change
from ezaigent.core.errors import NotFoundError, SandboxUnavailable, UnavailableError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces.changes import patch
from ezaigent.workspaces.cleanup import Cleaning
from ezaigent.workspaces.credentials import Credential
from ezaigent.workspaces.disk import measure, require_room
from ezaigent.workspaces.git import Git
from ezaigent.workspaces.guarding import Guard, unguarded
from ezaigent.workspaces.layout import Layout
from ezaigent.workspaces.locks import Locks
from ezaigent.workspaces.merge import merge_change
from ezaigent.workspaces.mirrors import Mirror, Mirrors
from ezaigent.workspaces.models import Cleaned, DiskUse, RepositoryInfo
from ezaigent.workspaces.opening import Wanted, open_tree
from ezaigent.workspaces.publish import send
from ezaigent.workspaces.refs import base_ref, branch_ref, checkpoint_ref
from ezaigent.workspaces.remotes import check_repository, known_login
from ezaigent.workspaces.repository import Repository, locate
from ezaigent.workspaces.sandbox import Sandbox
from ezaigent.workspaces.worktree import Workspace

_MEASURED_FOR: Final = 15.0
"""Seconds that a measurement of the disk is good for at least: it looks at every file."""
_MEASURED_SHARE: Final = 30.0
"""Times as long as it took that a measurement is good for, so that large folders are not measured all the time."""


class Workspaces:
    """Mirrors and trees below ``root``. Several processes may share a root."""

    def __init__(
        self, root: Path, settings: WorkspaceSettings, sandbox: Sandbox | None, *, guard: Guard = unguarded
    ) -> None:
        """Use the folder ``root``, made when it is needed; commands and checks run in ``sandbox``.

        ``guard`` is asked before git goes to another machine.

        Without a sandbox changes can be looked at; ``open`` and ``merge`` raise ``SandboxUnavailable``.
        """
        self._layout = Layout(root.absolute())
        self._settings = settings
        self._sandbox = sandbox
        self._git = Git()
        self._locks = Locks()
        self._mirrors = Mirrors(self._layout.mirrors, self._git, self._locks, guard)
        self._measured: tuple[float, DiskUse] | None = None  # with the time until which it is good
        self._measuring = asyncio.Lock()

    @property
    def level(self) -> str:
        """Sandbox level in force for commands and checks. Raises ``SandboxUnavailable`` without a sandbox."""
        return self._confined.level

    async def check_repo(self, repo: str, base: str | None = None) -> RepositoryInfo:
        """See ``check_repository``."""
        return await check_repository(repo, base, git=self._git)

    async def open(
        self,
        *,
        task_id: str,
        repo: str,
        base: str | None,
        parents: Sequence[str] = (),
        checkpoint: str | None = None,
        resumed: bool | None = None,
    ) -> Workspace:
        """Open the task's tree, new or where an earlier run left it.

        ``checkpoint`` restores exactly that commit, ignored files aside; without one the tree is the base. Anything
        else that is found is first saved on a salvage ref. ``resumed`` tells that the run goes on with the session of
        an earlier one, and so keeps its base although the source moved on; it is implied by a checkpoint. ``parents``
        are commits of needed tasks, merged onto the base.

        Raises ``UsageError`` for a repository or base that cannot be used, ``UnavailableError`` when the repository
        cannot be reached or the disk is full, ``RunError`` when the parents do not fit together.
        """
        repository = await self._locate(repo)
        wanted = Wanted(
            task_id=task_id,
            base=base,
            parents=parents,
            checkpoint=checkpoint,
            resumed=checkpoint is not None if resumed is None else resumed,
        )
        path = self._layout.tree(task_id)
        async with self._locks.hold(self._layout.lock(task_id)):
            if not path.is_dir():
                require_room(await self._recent_use())
            mirror = await self._mirror(repository, wanted)
            return await open_tree(self._layout, mirror, self._confined, wanted)

    async def _mirror(self, repository: Repository, wanted: Wanted) -> Mirror:
        """Return the mirror; a run that goes on with what is here does not need the source at all."""
        if wanted.resumed:
            mirror = await self._mirrors.get(repository, fresh=False)
            needed = [base_ref(wanted.task_id), *([wanted.checkpoint] if wanted.checkpoint else [])]
            if all([await mirror.commit(name) for name in needed]):
                return mirror
        return await self._mirrors.get(repository)

    async def clean(self, settled: Mapping[str, float]) -> Cleaned:
        """Remove worktrees and hidden refs of ended tasks, by age and by count, and pack what grew.

        ``settled`` gives the time, in seconds since 1970, at which each ended task ended; other tasks are left alone.
        Work that is nowhere else is saved on a salvage ref before its tree is removed, and kept for the full age.
        """
        self._measured = None
        return await Cleaning(self._layout, self._settings, self._mirrors, self._locks, settled).run()

    async def disk_use(self) -> DiskUse:
        """Measure the disk that mirrors and trees take now."""
        begun = time.monotonic()
        use = await asyncio.to_thread(measure, self._layout, self._settings.max_disk)
        took = time.monotonic() - begun
        self._measured = (time.monotonic() + max(_MEASURED_FOR, _MEASURED_SHARE * took), use)
        return use

    async def _recent_use(self) -> DiskUse:
        async with self._measuring:
            if self._measured is not None and time.monotonic() < self._measured[0]:
                return self._measured[1]
            return await self.disk_use()

    async def diff(self, task_id: str, repo: str, change: Change | None) -> str:
        """Return the change as a patch; without a change, the work kept in the task's last checkpoint.

        Raises ``NotFoundError`` when this machine has neither.
        """
        mirror = await self._mirror_with(task_id, repo)
        if change is not None:
            base, commit = change.base, await mirror.commit(change.commit)
            if commit is None and change.published:
                mirror = await self._mirrors.get(await self._locate(repo))
                commit = await mirror.commit(change.commit)
        else:
            base, commit = base_ref(task_id), await mirror.commit(checkpoint_ref(task_id))
        if commit is None:
            raise NotFoundError(f"this machine has no change of task {task_id}: ask the machine that worked it")
        return await patch(mirror, base, commit)

    async def send(self, task_id: str, repo: str, change: Change, remote: str, *, token: str | None = None) -> None:
        """Push a change to the task's branch of ``remote``, another repository; there already is fine.

        ``token`` is the login, where ``remote`` is a URL over http without one. Raises ``Rejected`` (an
        ``EzAigentError``) where the branch is something else there, ``UnavailableError`` when the other side cannot be
        reached or this machine does not have the change.
        """
        mirror = await self._mirror_with(task_id, repo)
        commit = await mirror.commit(change.commit)
        if commit is None and change.published:
            mirror = await self._mirrors.get(await self._locate(repo))
            commit = await mirror.commit(change.commit)
        if commit is None:
            raise UnavailableError(f"this machine has no change of task {task_id}: only the one that worked it has")
        target = await self._locate(remote)
        if token is not None and target.kind == "http" and target.credential is None:
            login = Credential(urlsplit(target.url).netloc, "x-access-token", token)
            target = replace(target, credential=login)
        await send(mirror, commit, task_id, target)

    async def _mirror_with(self, task_id: str, repo: str) -> Mirror:
        for path in self._mirrors.paths():
            mirror = self._mirrors.at(path)
            if await mirror.commit(base_ref(task_id)) or await mirror.commit(branch_ref(task_id)):
                return mirror
        return await self._mirrors.get(await self._locate(repo))

    async def merge(self, task_id: str, repo: str, base: str | None, change: Change, checks: Sequence[str]) -> str:
        """Merge a change onto its base branch if the merged tree passes ``checks``; return the branch's new commit.

        Raises as ``merge.merge_change`` says: one line each for a conflict, a failing check, a branch in use.
        """
        mirror = await self._mirrors.get(await self._locate(repo))
        return await merge_change(
            self._layout, self._mirrors, mirror, self._confined,
            task_id=task_id, base=base, change=change, commands=checks,
        )  # fmt: skip

    @property
    def _confined(self) -> Sandbox:
        if self._sandbox is None:
            raise SandboxUnavailable("these workspaces were opened for looking only: nothing can be run in them")
        return self._sandbox

    async def _locate(self, repo: str) -> Repository:
        return known_login(await locate(repo, self._git))
