"""Merging one change onto its base branch: only a tree whose exact hash passed the checks is ever published."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from ezaigent.core.change import Change, CheckResult
from ezaigent.core.errors import ConflictError, RunError, UnavailableError, UsageError
from ezaigent.workspaces.bases import is_ancestor, merge_trees
from ezaigent.workspaces.checks import run_checks
from ezaigent.workspaces.layout import Layout, remove_tree, tie, untie
from ezaigent.workspaces.mirrors import ORIGIN, Mirror, Mirrors
from ezaigent.workspaces.publish import Rejected, push
from ezaigent.workspaces.sandbox import Sandbox
from ezaigent.workspaces.snapshots import Snapshots

_ROUNDS: Final = 3
"""How often the merge is made anew because somebody pushed to the branch meanwhile."""


async def merge_change(
    layout: Layout, mirrors: Mirrors, mirror: Mirror, sandbox: Sandbox, *, task_id: str, base: str | None,
    change: Change, commands: Sequence[str],
) -> str:  # fmt: skip
    """Merge ``change`` onto the branch ``base`` of the source (None: its default branch); return that branch's commit.

    Raises ``UsageError`` when the base is no branch, ``ConflictError`` when the changes do not fit together or the
    branch is checked out at the source, ``RunError`` when a check fails on the merged tree.
    """
    if await mirror.commit(change.commit) is None:
        raise UnavailableError(f"the change {change.commit[:12]} is not on this machine and not in {mirror.repository}")
    for _ in range(_ROUNDS):
        tip, branch = await mirror.resolve(base)
        if branch is None:
            raise UsageError(
                f"{base or 'HEAD'!r} is not a branch of {mirror.repository}: name the branch to merge onto"
            )
        tip = await mirror.commit(f"{ORIGIN}{branch}") or ""
        if tip and await is_ancestor(mirror, change.commit, tip):
            return tip
        await _require_free(mirror, branch, change)
        commit, tree = await _merged(mirror, tip, branch, change)
        if not _proved(change, tree, commands):
            results = await _check(layout, mirror, sandbox, name=f"merge-{task_id}", commit=commit, commands=commands)
            _require_passed(results, branch)
        try:
            await push(mirror, commit, f"refs/heads/{branch}", expected=tip)
        except Rejected as error:
            mirror = await mirrors.get(mirror.repository)
            if (await mirror.commit(f"{ORIGIN}{branch}") or "") == tip:
                raise ConflictError(f"{change.branch} was not merged: {error}") from None
            continue  # the branch moved: merge onto what it is now
        await mirror.set_ref(f"{ORIGIN}{branch}", commit)
        return commit
    raise ConflictError(f"{change.branch} was not merged: {base or 'the branch'} keeps changing; try again")


async def _require_free(mirror: Mirror, branch: str, change: Change) -> None:
    """Refuse a branch that somebody at the source has checked out: moving it would make his files look changed."""
    folder = mirror.repository.git_dir
    if folder is None:
        return
    listed = await mirror.git.run("worktree", "list", "--porcelain", "-z", at=folder, ok=())
    for block in listed.text.split("\0\0"):
        fields = {line.partition(" ")[0]: line.partition(" ")[2] for line in block.split("\0")}
        if fields.get("branch") == f"refs/heads/{branch}":
            place = fields["worktree"]
            raise ConflictError(
                f"{branch} is checked out in {place}, where it would change under your files: run "
                f"`git -C {place} merge {change.branch if change.published else change.commit}` there"
            )


async def _merged(mirror: Mirror, tip: str, branch: str, change: Change) -> tuple[str, str]:
    if not tip or await is_ancestor(mirror, tip, change.commit):
        return change.commit, await mirror.tree(change.commit)
    merged = await merge_trees(mirror, tip, change.commit)
    if merged.conflicts or not merged.tree:
        raise ConflictError(
            f"{change.branch} conflicts with {branch} in {merged.files}: merge it by hand, or retry the task to redo "
            f"it on top of {branch}"
        )
    return await mirror.write_commit(
        merged.tree, [tip, change.commit], f"Merge {change.branch} into {branch}\n"
    ), merged.tree


def _proved(change: Change, tree: str, commands: Sequence[str]) -> bool:
    passed = {check.command for check in change.checks if check.ok and check.tree == tree}
    return passed.issuperset(commands)


def _require_passed(results: Sequence[CheckResult], branch: str) -> None:
    for result in results:
        if not result.ok:
            last = next((line for line in reversed(result.output.splitlines()) if line.strip()), "no output")
            raise RunError(
                f"{result.command!r} fails (exit {result.exit_code}) on the merge with {branch}: {last.strip()[:200]}",
                retryable=False,
            )


async def _check(
    layout: Layout, mirror: Mirror, sandbox: Sandbox, *, name: str, commit: str, commands: Sequence[str]
) -> tuple[CheckResult, ...]:
    name = f"{name}-{secrets.token_hex(4)}"
    path, notes = layout.trees / name, layout.note(name)
    path.mkdir(parents=True, mode=0o700)
    notes.mkdir(parents=True, mode=0o700)
    try:
        snapshots = Snapshots(mirror, path, notes / "index")
        await snapshots.fill(commit)
        admin = tie(mirror.path, name, path, commit)
        (admin / "index").write_bytes((notes / "index").read_bytes())
        return await run_checks(sandbox, snapshots, commands, tree=path, mirror=mirror.path)
    finally:
        untie(mirror.path, name)
        await asyncio.to_thread(remove_tree, path)
        await asyncio.to_thread(remove_tree, notes)
