"""Opening a task's tree: a new one, or the one that an earlier run left, brought to exactly the wanted state.

Nothing that is found is thrown away: what differs from the wanted state is first saved on
``refs/ezaigent/salvage/<task-id>/<n>``.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ezaigent.core.errors import RunError
from ezaigent.workspaces.bases import with_parents
from ezaigent.workspaces.indexes import new_index, remove_indexes
from ezaigent.workspaces.layout import Layout, admin_folder, open_up, remove_tree, tie
from ezaigent.workspaces.mirrors import Mirror
from ezaigent.workspaces.notes import left_out
from ezaigent.workspaces.ownership import Ownership, is_left_alone
from ezaigent.workspaces.refs import base_ref, branch_ref, checkpoint_ref, salvage_folder
from ezaigent.workspaces.sandbox import Sandbox
from ezaigent.workspaces.snapshots import Snapshots
from ezaigent.workspaces.worktree import Workspace

PATIENCE: Final = 20.0
"""Seconds for which a git of a worker that was killed is waited for; then its tree is set aside."""
_BASE_LINE = re.compile(r"^Base: ([0-9a-f]{40,64})$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run asks for."""

    task_id: str
    base: str | None
    parents: Sequence[str]
    checkpoint: str | None
    resumed: bool
    """Whether this run goes on with the session of an earlier one, which must find the base that it knows."""


async def open_tree(layout: Layout, mirror: Mirror, sandbox: Sandbox, wanted: Wanted) -> Workspace:
    """Open the tree; the caller holds the task's lock and has brought the mirror up to date.

    Raises ``UsageError`` for a base that does not exist, ``RunError`` for changes that cannot be merged and for a
    checkpoint that is not here.
    """
    task_id, path, notes = wanted.task_id, layout.tree(wanted.task_id), layout.note(wanted.task_id)
    base = await _base(mirror, wanted)
    ownership, contested = Ownership.take(notes)
    try:
        if not contested and not await is_left_alone(notes, PATIENCE):
            contested = True
        if not contested:
            remove_indexes(notes)
            remove_indexes(admin_folder(mirror.path, task_id))
        snapshots = Snapshots(mirror, path, new_index(notes))
        await _prepare(layout, mirror, snapshots, wanted, base, contested=contested)
        return Workspace(
            task_id=task_id,
            path=path,
            base=base,
            mirror=mirror,
            snapshots=snapshots,
            ownership=ownership,
            sandbox=sandbox,
            notes=await left_out(mirror, base, snapshots.submodules),
        )
    except BaseException:
        ownership.close()
        raise


async def _prepare(
    layout: Layout, mirror: Mirror, snapshots: Snapshots, wanted: Wanted, base: str, *, contested: bool
) -> None:
    """Make the folder be the wanted tree; a new one is there as a whole or, when it is stopped, not at all."""
    task_id, path = wanted.task_id, layout.tree(wanted.task_id)
    target = wanted.checkpoint or base
    await _set_aside(mirror, task_id, target, base)
    if path.is_dir() and not path.is_symlink():
        await asyncio.to_thread(open_up, path)
        await _bring_to(mirror, snapshots, task_id, target)
        if contested:
            # A paused process may still hold this folder open and go on writing into it later.
            path.rename(_stale(path))
    if not path.is_dir():
        path.unlink(missing_ok=True)
        path.mkdir(parents=True, mode=0o700)
        try:
            await snapshots.fill(target)
        except BaseException:
            # Half a tree would look like work that was left there.
            await asyncio.to_thread(remove_tree, path.rename(_stale(path)))
            raise
    admin = tie(mirror.path, task_id, path, f"ref: {branch_ref(task_id)}")
    await _show_base(mirror, path, snapshots.index, admin / "index", base if target != base else None)


def _stale(path: Path) -> Path:
    """Return a name for a tree that nobody opens any more; cleaning up removes it."""
    return path.with_name(f"{path.name}.stale-{secrets.token_hex(4)}")


async def _base(mirror: Mirror, wanted: Wanted) -> str:
    if wanted.checkpoint is not None and await mirror.commit(wanted.checkpoint) is None:
        raise RunError(
            f"checkpoint {wanted.checkpoint[:12]} of task {wanted.task_id} is not on this machine: continue on the "
            "machine that made it, or retry the task to start anew"
        )
    if wanted.resumed:
        if known := await mirror.commit(base_ref(wanted.task_id)):
            return known
        if wanted.checkpoint is not None:
            message = await mirror.git.line("show", "-s", "--format=%B", wanted.checkpoint, at=mirror.path)
            said = _BASE_LINE.search(message)
            if said and (known := await mirror.commit(said[1])):
                return known
    start, _ = await mirror.resolve(wanted.base)
    return await with_parents(mirror, start, wanted.parents)


async def _set_aside(mirror: Mirror, task_id: str, target: str, base: str) -> None:
    """Save commits of earlier runs that the wanted state does not hold, then point the task's refs to it."""
    branch, checkpoint = branch_ref(task_id), checkpoint_ref(task_id)
    refs = await mirror.list_refs(branch, checkpoint)
    kept = {target, base}
    for commit in dict.fromkeys(refs.values()):
        if commit in kept or (target != base and commit == refs.get(branch)):
            continue  # a resumed run may have made its commit already, and will find it again
        ancestor = await mirror.git.run("merge-base", "--is-ancestor", commit, target, at=mirror.path, ok=())
        if ancestor.code != 0:
            await save(mirror, task_id, commit)
    lines = [f"update {base_ref(task_id)} {base}"]
    if target != base:
        lines.append(f"update {checkpoint} {target}")
        if branch not in refs:
            lines.append(f"update {branch} {base}")
    else:
        lines += [f"update {branch} {base}", *([f"delete {checkpoint}"] if checkpoint in refs else [])]
    data = "".join(f"{line}\n" for line in lines).encode()
    await mirror.git.run("update-ref", "--no-deref", "--stdin", at=mirror.path, data=data)


async def save(mirror: Mirror, task_id: str, commit: str) -> str:
    """Put ``commit`` on the task's next salvage ref, unless one of them holds its tree already; return the ref."""
    refs = await mirror.list_refs(salvage_folder(task_id))
    tree = await mirror.tree(commit)
    for ref, other in refs.items():
        if await mirror.tree(other) == tree:
            return ref
    ref = next_salvage(task_id, list(refs))
    await mirror.set_ref(ref, commit)
    return ref


def next_salvage(task_id: str, refs: list[str]) -> str:
    """Return the first free salvage ref after ``refs``."""
    numbers = [int(ref.rpartition("/")[2]) for ref in refs]
    return f"{salvage_folder(task_id)}/{max(numbers, default=0) + 1}"


async def _bring_to(mirror: Mirror, snapshots: Snapshots, task_id: str, target: str) -> None:
    await snapshots.load(target)
    refs = await mirror.list_refs(salvage_folder(task_id))
    ref = next_salvage(task_id, list(refs))
    found = await snapshots.take(f"Found in the tree when task {task_id} was opened", ref)
    if found is None:
        return
    for other in refs.values():
        if await mirror.tree(other) == found.tree:
            await mirror.drop_refs([ref])
            break
    await snapshots.restore(target)


async def _show_base(mirror: Mirror, tree: Path, own: Path, shown: Path, base: str | None) -> None:
    """Give git inside the tree an index of ``base`` (None: of the tree), so that it shows what the task changed."""
    part = shown.with_name(own.name)
    if base is None:
        await asyncio.to_thread(shutil.copyfile, own, part)
    else:
        await mirror.git.run("read-tree", base, at=mirror.path, tree=tree, index=part)
        await mirror.git.run("update-index", "-q", "--refresh", at=mirror.path, tree=tree, index=part, ok=())
    part.replace(shown)
