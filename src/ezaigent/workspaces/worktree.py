"""One task's tree: saved step by step, worked in through the sandbox, turned into one commit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ezaigent.core.change import Change, CheckResult
from ezaigent.workspaces.changes import change_of, changed_paths
from ezaigent.workspaces.checks import environment, run_checks
from ezaigent.workspaces.mirrors import Mirror
from ezaigent.workspaces.ownership import Ownership
from ezaigent.workspaces.publish import publish
from ezaigent.workspaces.refs import branch_ref, checkpoint_ref
from ezaigent.workspaces.sandbox import CommandResult, Level, OnOutput, Sandbox
from ezaigent.workspaces.scope import outside
from ezaigent.workspaces.snapshots import Snapshots


class Workspace:
    """A task's tree, open for one run. Made by ``Workspaces.open``.

    Every method that writes raises ``StaleFence`` when another run has opened the same task since.
    """

    def __init__(
        self,
        *,
        task_id: str,
        path: Path,
        base: str,
        mirror: Mirror,
        snapshots: Snapshots,
        ownership: Ownership,
        sandbox: Sandbox,
        notes: tuple[str, ...],
    ) -> None:
        """Use ``Workspaces.open``."""
        self.task_id = task_id
        self.path = path
        """The tree."""
        self.base = base
        """The commit that the branch starts from."""
        self.notes = notes
        """What an agent should know about the tree, one sentence each: submodules and large files left out."""
        self._mirror = mirror
        self._snapshots = snapshots
        self._ownership = ownership
        self._sandbox = sandbox

    @property
    def branch(self) -> str:
        """Name of the branch that the change goes to."""
        return f"ezaigent/{self.task_id}"

    @property
    def sandbox_level(self) -> Level:
        """How strongly commands are confined here."""
        return self._sandbox.level

    async def checkpoint(self, label: str) -> str | None:
        """Save the tree as a commit on the task's hidden ref; return its id, or None when nothing changed.

        What ``.gitignore`` names is not saved, and neither are empty folders.
        """
        self._ownership.require()
        saved = await self._snapshots.take(f"{label}\n\nTask: {self.task_id}\nBase: {self.base}", self._ref)
        return saved.commit if saved else None

    async def run(
        self, command: str, *, timeout: float | None = None, on_output: OnOutput | None = None
    ) -> CommandResult:
        """Run a shell command in the sandbox, in the tree.

        Reading with git works inside (log, diff, status, blame); writing with git does not, because the mirror is
        read-only there: edit files, they become the change. Cancelling ends the command and all its descendants.
        """
        self._ownership.require()
        return await self._sandbox.run(
            command,
            cwd=self.path,
            writable=self.path,
            readable=[self._mirror.path],
            env=environment(self._mirror.path),
            timeout=timeout,
            on_output=on_output,
        )

    async def check(self, commands: Sequence[str]) -> tuple[CheckResult, ...]:
        """Run check commands in the sandbox on the tree as it is now; each result names that tree's hash.

        The tree is the same afterwards. A check that changes files of the repository fails, and says so in its output.
        """
        if not commands:
            return ()
        await self.checkpoint("Before the checks")
        return await run_checks(self._sandbox, self._snapshots, commands, tree=self.path, mirror=self._mirror.path)

    async def commit(self, *, message: str, author: str, trailers: Mapping[str, str]) -> Change:
        """Put the whole tree on the branch, as one commit on top of the base, and return it with its numbers.

        ``author`` is the agent's name. Called again with the same tree (after a crash, say) it returns the very same
        commit. A tree without changes makes no commit: the change then has no files and says so in its note.
        """
        await self.checkpoint("Before the commit")
        mirror, tree = self._mirror, await self._snapshots.tree_name()
        if tree == await mirror.tree(self.base):
            await mirror.set_ref(branch_ref(self.task_id), self.base)
            return Change(
                branch=self.branch, commit=self.base, tree=tree, base=self.base, note="there was nothing to change"
            )
        commit = await self._same_commit(tree)
        if commit is None:
            text = _message(message, trailers)
            commit = await mirror.write_commit(tree, [self.base], text, author=_identity(author))
            self._ownership.require()
            await mirror.set_ref(branch_ref(self.task_id), commit)
        change = await change_of(mirror, branch=self.branch, base=self.base, commit=commit, tree=tree)
        if unreadable := self._snapshots.unreadable:
            names = ", ".join(os.fsdecode(path) for path in unreadable)
            return change.model_copy(update={"note": f"could not be read and are not in it as they are: {names}"})
        return change

    async def _same_commit(self, tree: str) -> str | None:
        """Return the branch's commit when an earlier call already made it from this tree and base."""
        ref = branch_ref(self.task_id)
        shown = await self._mirror.git.run("show", "-s", "--format=%H %T %P", ref, at=self._mirror.path, ok=())
        commit, *rest = shown.text.split(" ")
        return commit if shown.code == 0 and rest == [tree, self.base] else None

    async def publish(self, change: Change) -> Change:
        """Hand the branch back to the repository it came from; a failure is told in the change's note.

        Only ``refs/heads/ezaigent/<task-id>`` is written there; checkout, index, stash and other branches stay.
        """
        self._ownership.require()
        return await publish(self._mirror, self.task_id, change)

    async def violations(self, scope: Sequence[str]) -> list[str]:
        """Return the changed files that no glob of ``scope`` covers; an empty scope covers all."""
        if not scope:
            return []
        await self.checkpoint("Before looking at the scope")
        paths = await changed_paths(self._mirror, self.base, self._snapshots.last)
        return outside([os.fsdecode(path) for path in paths], scope)

    async def close(self) -> None:
        """Say that this run is over; the tree stays until it is cleaned up."""
        self._ownership.close()

    @property
    def _ref(self) -> str:
        return checkpoint_ref(self.task_id)


def _identity(name: str) -> str:
    """Return ``Name <mail>`` for an agent: the mail address is one that cannot exist."""
    shown = " ".join(re.sub(r"[<>\x00-\x1f]", " ", name).split()) or "agent"
    local = re.sub(r"[^a-z0-9._-]+", "-", shown.lower()).strip("-.") or "agent"
    return f"{shown} <{local}@agents.ezaigent.invalid>"


def _message(message: str, trailers: Mapping[str, str]) -> str:
    lines = [f"{key}: {' '.join(value.split())}" for key, value in trailers.items()]
    body = message.strip() or "Change"
    return "\n\n".join([body, *(["\n".join(lines)] if lines else [])]) + "\n"
