"""Removing what ended tasks left behind, by age and by count, and never the only copy of anything."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ezaigent.core.errors import EzAigentError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces.indexes import new_index, remove_indexes
from ezaigent.workspaces.layout import Layout, admin_folder, open_up, remove_tree, untie
from ezaigent.workspaces.locks import Locks
from ezaigent.workspaces.mirrors import Mirror, Mirrors
from ezaigent.workspaces.models import Cleaned
from ezaigent.workspaces.opening import next_salvage
from ezaigent.workspaces.ownership import is_in_use
from ezaigent.workspaces.refs import (
    BASES,
    BRANCHES,
    CHECKPOINTS,
    PUBLISHED,
    SALVAGE,
    base_ref,
    branch_ref,
    checkpoint_ref,
    salvage_folder,
)
from ezaigent.workspaces.snapshots import Snapshots

_STALE_AGE: Final = 3600.0
"""Seconds before a folder that a run lost to its successor is removed: its process has found out by then."""
_LOOSE: Final = 4096
"""Loose objects in a mirror above which it is packed."""
_UNREACHABLE_AGE: Final = "2.days.ago"
"""Objects younger than this are kept by packing even when no ref holds them: a run may be about to."""


@dataclass
class Cleaning:
    """One round of cleaning."""

    layout: Layout
    settings: WorkspaceSettings
    mirrors: Mirrors
    locks: Locks
    settled: Mapping[str, float]
    """Ended tasks with the time, in seconds since 1970, at which they ended. Other tasks are left alone."""
    now: float = field(default_factory=time.time)
    _salvaged: list[str] = field(default_factory=list[str])
    _worktrees: int = 0
    _refs: int = 0

    async def run(self) -> Cleaned:
        """Clean; a tree or ref that cannot be dealt with now is left for the next round."""
        for task_id in await asyncio.to_thread(self._trees_to_remove):
            with suppress(EzAigentError, OSError):
                await self._remove(task_id)
        await asyncio.to_thread(self._remove_stale)
        for path in self.mirrors.paths():
            with suppress(EzAigentError, OSError):
                await self._clean_mirror(self.mirrors.at(path))
        return Cleaned(worktrees=self._worktrees, refs=self._refs, salvaged=tuple(self._salvaged))

    def _old(self, ended: float) -> bool:
        return self.now - ended > self.settings.keep_age

    def _trees_to_remove(self) -> list[str]:
        if not self.layout.trees.is_dir():
            return []
        here = [path.name for path in self.layout.trees.iterdir() if path.name in self.settled]
        newest = sorted(here, key=lambda task_id: self.settled[task_id], reverse=True)
        return [
            task_id
            for number, task_id in enumerate(newest)
            if number >= self.settings.keep_count or self._old(self.settled[task_id])
        ]

    async def _remove(self, task_id: str) -> None:
        async with self.locks.hold(self.layout.lock(task_id)):
            path, notes = self.layout.tree(task_id), self.layout.note(task_id)
            if is_in_use(notes):
                return
            mirror = self._mirror_of(task_id)
            if mirror is None:
                return  # nothing says what is saved of it, so it stays
            await asyncio.to_thread(open_up, path)
            await self._save_unsaved(mirror, task_id, path, notes)
            # One step, so that a crash never leaves half a tree that would look like unsaved work.
            gone = path.with_name(f"{task_id}.stale-{secrets.token_hex(4)}")
            path.rename(gone)
            self._worktrees += 1
            untie(mirror.path, task_id)
            await asyncio.to_thread(remove_tree, notes)
            await asyncio.to_thread(remove_tree, gone)

    def _mirror_of(self, task_id: str) -> Mirror | None:
        for path in self.mirrors.paths():
            if admin_folder(path, task_id).is_dir():
                return self.mirrors.at(path)
        return None

    async def _save_unsaved(self, mirror: Mirror, task_id: str, path: Path, notes: Path) -> None:
        """Save the tree unless it is just what a checkpoint, the branch or the base holds."""
        for ref in (checkpoint_ref(task_id), branch_ref(task_id), base_ref(task_id)):
            if (known := await mirror.commit(ref)) is not None:
                break
        else:
            return
        remove_indexes(notes)
        snapshots = Snapshots(mirror, path, new_index(notes))
        await snapshots.load(known)
        ref = next_salvage(task_id, list(await mirror.list_refs(salvage_folder(task_id))))
        found = await snapshots.take(f"Left in the tree when task {task_id} was cleaned up", ref)
        if found is None:
            return
        for other in (await mirror.list_refs(branch_ref(task_id), salvage_folder(task_id))).items():
            if other[0] != ref and await mirror.tree(other[1]) == found.tree:
                await mirror.drop_refs([ref])
                return
        self._salvaged.append(ref)

    def _remove_stale(self) -> None:
        if not self.layout.trees.is_dir():
            return
        for path in self.layout.trees.iterdir():
            with suppress(OSError):
                if ".stale-" in path.name and self.now - path.lstat().st_ctime > _STALE_AGE:
                    remove_tree(path)

    async def _clean_mirror(self, mirror: Mirror) -> None:
        hidden = await mirror.list_refs(CHECKPOINTS, BASES, SALVAGE, PUBLISHED)
        aged: dict[str, list[str]] = {}
        for ref in hidden:
            task_id = ref.split("/")[3].removesuffix(".part")
            ended = self.settled.get(task_id)
            if ended is not None and self._old(ended) and not self.layout.tree(task_id).exists():
                aged.setdefault(task_id, []).append(ref)
        for task_id, refs in aged.items():
            young = [ref for ref in refs if ref.startswith(SALVAGE) and not await self._old_commit(mirror, ref)]
            if young:
                continue  # saved a moment ago, by the removal of its tree: keep everything a full age longer
            gone = [*refs, *await self._merged_branch(mirror, task_id)]
            await mirror.drop_refs(gone)
            self._refs += len(gone)
        await self._pack(mirror)

    async def _old_commit(self, mirror: Mirror, ref: str) -> bool:
        when = await mirror.git.line("show", "-s", "--format=%ct", ref, at=mirror.path)
        return self._old(float(when))

    @staticmethod
    async def _merged_branch(mirror: Mirror, task_id: str) -> list[str]:
        """Return the task's branch when the source has everything on it: otherwise this is the only copy."""
        commit = await mirror.commit(branch_ref(task_id))
        if commit is None:
            return []
        there = await mirror.git.line(
            "for-each-ref", "--count=1", f"--contains={commit}", "refs/remotes/origin", at=mirror.path
        )
        return [f"{BRANCHES}/{task_id}"] if there else []

    async def _pack(self, mirror: Mirror) -> None:
        if await asyncio.to_thread(_loose_objects, mirror.path) > _LOOSE:
            await mirror.git.run("gc", "--quiet", f"--prune={_UNREACHABLE_AGE}", at=mirror.path)


def _loose_objects(mirror: Path) -> int:
    return sum(
        sum(1 for _ in folder.iterdir())
        for folder in (mirror / "objects").iterdir()
        if len(folder.name) == 2  # noqa: PLR2004  (the first byte of a name, in hexadecimal)
    )
