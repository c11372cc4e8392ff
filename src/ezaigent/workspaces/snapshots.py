"""The present content of a work tree as a git commit, without trusting anything that lies in the tree.

Git only lists what differs from a private index (``ls-files``: no filter, hook or program of anybody runs for that);
the files are read by ``reading.Tree`` and handed to one ``git fast-import``, which writes objects, commit and ref.
A snapshot that finds nothing new costs one git process, or none in a small tree; one that does costs three.

What a snapshot cannot hold, because git trees cannot: empty folders, sockets, pipes and devices, anything called
``.git`` (the files of a nested repository are kept, as plain files; its history is not). Left out on purpose: what
``.gitignore`` and the mirror's exclude file name, and files that may not be read, which keep their last known content.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ezaigent.core.errors import UsageError
from ezaigent.workspaces.fast_import import BATCH, Changes, import_changes
from ezaigent.workspaces.fingerprints import fingerprint
from ezaigent.workspaces.git import Git, GitFailed
from ezaigent.workspaces.mirrors import ZERO, Mirror
from ezaigent.workspaces.ownership import WRITING
from ezaigent.workspaces.reading import SUBMODULE, Blob, Tree, is_savable

_REFRESH_AFTER: Final = 200
"""Changed paths after which the private index is brought up to date with a pass over the tree: until then comparing
their content each time is cheaper."""
_FORBIDDEN: Final = re.compile(r"^error: invalid path '(.*)'", re.MULTILINE)
_KEEP: Final = 1024 * 1024
"""Bytes up to which a file that was read for comparing is kept for saving; larger ones are read twice."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree that was saved."""

    commit: str
    tree: str
    paths: tuple[bytes, ...]
    """What changed since the one before."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What a tree has that its last snapshot has not, or has otherwise."""

    changed: tuple[bytes, ...]
    """Files of the snapshot that were changed or removed."""
    new: tuple[bytes, ...]
    """Files that the snapshot does not have; ignored ones do not count."""

    def only_changed(self) -> Differences:
        """Return the part that concerns files of the snapshot."""
        return Differences(self.changed, ())


class Snapshots:
    """Saves one work tree, again and again, against a private index that lies outside of it."""

    def __init__(self, mirror: Mirror, tree: Path, index: Path) -> None:
        """Save ``tree`` into ``mirror``, remembering what was saved in the file ``index``."""
        self._mirror = mirror
        self._git: Git = mirror.git
        self._tree = tree
        self.index = index
        """The private index."""
        self._submodules: dict[bytes, str] = {}
        self._unsettled = 0
        self._seen: bytes | None = None
        self._named = ("", "")
        self.last = ""
        """The commit that the private index stands for."""
        self.unreadable: tuple[bytes, ...] = ()
        """Files that could not be read when the tree was last looked at: they keep their last known content."""

    async def load(self, commit: str) -> None:
        """Take ``commit`` as what was saved last; the next snapshot compares the tree's content with it."""
        self.index.unlink(missing_ok=True)
        await self._run("read-tree", commit)
        await self._noted(commit)
        # With nothing known about the files every comparison would read them all: look at them once.
        await self._run("update-index", "-q", "--refresh", ok=())

    async def restore(self, commit: str) -> None:
        """Make the tree be ``commit``: the private index must stand for the tree as it is now."""
        await self._run("update-index", "-q", "--really-refresh", ok=())
        await self._run("read-tree", "--reset", "-u", commit, writes=True)
        await self._noted(commit)

    async def fill(self, commit: str) -> None:
        """Write ``commit`` into a tree that is empty. Raises ``UsageError`` for a commit with forbidden names."""
        self.index.unlink(missing_ok=True)
        try:
            await self._run("read-tree", "--reset", "-u", commit, writes=True)
        except GitFailed as error:
            if found := _FORBIDDEN.search(error.result.err):
                raise UsageError(
                    f"the commit {commit[:12]} holds the path {found[1]!r}, which git does not write to a disk: remove "
                    "it from the repository"
                ) from None
            raise
        await self._noted(commit)

    async def _noted(self, commit: str) -> None:
        self.last, self._unsettled, self._seen = commit, 0, None
        listed = await self._run("ls-files", "-z", "--stage")
        entries = (entry.split(b"\t", 1) for entry in listed.split(b"\0") if entry.startswith(SUBMODULE.encode()))
        self._submodules = {path: head.split()[1].decode() for head, path in entries}

    async def tree_name(self) -> str:
        """Return the name of the tree that was saved last."""
        if self._named[0] != self.last:
            self._named = (self.last, await self._mirror.tree(self.last))
        return self._named[1]

    @property
    def submodules(self) -> list[bytes]:
        """Folders of submodules in the tree saved last."""
        return sorted(self._submodules)

    async def take(self, label: str, ref: str) -> Snapshot | None:
        """Save the tree as a child of the last snapshot and point ``ref`` to it; None when nothing changed."""
        seen = await asyncio.to_thread(fingerprint, self._tree)
        if seen is not None and seen == self._seen:
            return None
        changes = await self._changes()
        self.unreadable = tuple(changes.unreadable)
        if not changes:
            self._seen = seen
            return None
        commit, tree = await import_changes(self._mirror, changes, self._open, label=label, ref=ref, parent=self.last)
        await self._learn(changes, commit)
        self.last, self._seen, self._named = commit, seen, (commit, tree)
        paths = (*changes.removed, *(path for path, _ in changes.written))
        return Snapshot(commit, tree, tuple(sorted(paths)))

    async def differences(self) -> Differences:
        """Return which files differ from the last snapshot, without saving anything."""
        changes = await self._changes()
        changed = {*changes.removed, *(path for path, _ in changes.written)}
        return Differences(tuple(sorted(changed & changes.known)), tuple(sorted(changed - changes.known)))

    async def put_back(self, differences: Differences) -> None:
        """Give the changed files their content of the last snapshot and remove the new ones."""
        self._seen = None
        await asyncio.to_thread(self._remove, differences.new)
        if differences.changed:
            data = b"".join(path + b"\0" for path in differences.changed if path not in self._submodules)
            await self._run("checkout-index", "--force", "--quiet", "-z", "--stdin", data=data, writes=True)

    def _remove(self, paths: tuple[bytes, ...]) -> None:
        tree = self._open()
        try:
            for path in paths:
                tree.remove(path)
        finally:
            tree.close()

    async def _changes(self) -> Changes:
        listed = await self._run(
            "ls-files", "-z", "-t", "--stage", "--modified", "--deleted", "--others", "--exclude-standard"
        )
        known: dict[bytes, tuple[str, str]] = {}
        nested: list[bytes] = []
        new: list[bytes] = []
        for entry in filter(None, listed.split(b"\0")):
            tag, rest = entry[:1], entry[2:]
            if tag == b"?":
                (nested if rest.endswith(b"/") else new).append(rest)
            else:
                head, path = rest.split(b"\t", 1)
                mode, name, _ = head.decode().split()
                known[path] = (mode, name)
        for folder in nested:
            new += await self._nested(folder)
        return await asyncio.to_thread(self._read, known, new, await self._filled())

    def _read(self, known: dict[bytes, tuple[str, str]], new: list[bytes], filled: dict[bytes, list[bytes]]) -> Changes:
        changes = Changes(known=set(known))
        tree = self._open()
        try:
            for path in sorted({*known, *self._submodules}):
                if path in self._submodules:
                    if tree.is_folder(path):
                        if path in filled:
                            changes.removed.append(path)
                        continue
                    known.setdefault(path, (SUBMODULE, self._submodules[path]))
                self._look(tree, path, known[path], changes)
            for path in sorted({*new, *(path for paths in filled.values() for path in paths)} - known.keys()):
                self._look(tree, path, None, changes)
        finally:
            tree.close()
        return changes

    @staticmethod
    def _look(tree: Tree, path: bytes, known: tuple[str, str] | None, changes: Changes) -> None:
        found = tree.blob(path, _KEEP if changes.kept < BATCH else 0)
        if isinstance(found, Blob) and is_savable(path, found.mode):
            if (found.mode, found.name) != known:
                changes.written.append((path, found))
                changes.kept += len(found.data or b"")
        elif found == "unreadable":
            changes.unreadable.append(path)
        elif known is not None:
            changes.removed.append(path)

    async def _nested(self, folder: bytes) -> list[bytes]:
        """Return the files of a repository that lies in the tree, by its own ignore rules, as paths from the top.

        A name that is not there any more, or is no folder, has none.
        """
        found: list[bytes] = []
        waiting = [folder.rstrip(b"/")]
        while waiting:
            at = waiting.pop()
            if not await asyncio.to_thread(self._is_folder, at):
                continue
            listed = await self._git.run(
                "ls-files", "-z", "--others", "--exclude-standard",
                at=self._mirror.path, tree=self._tree / os.fsdecode(at), index=self.index.with_name("none"), ok=(),
            )  # fmt: skip
            for path in filter(None, listed.out.split(b"\0")):
                (waiting if path.endswith(b"/") else found).append(at + b"/" + path.rstrip(b"/"))
        return found

    async def _filled(self) -> dict[bytes, list[bytes]]:
        """Return the submodules whose folder has files now, with those files: git itself would not look inside."""
        filled: dict[bytes, list[bytes]] = {}
        if self._submodules:
            tree = self._open()
            try:
                busy = [path for path in self._submodules if set(tree.names(path)) - {b".git"}]
            finally:
                tree.close()
            for path in busy:
                if files := await self._nested(path):
                    filled[path] = files
        return filled

    def _is_folder(self, path: bytes) -> bool:
        tree = self._open()
        try:
            return tree.is_folder(path)
        finally:
            tree.close()

    def _open(self) -> Tree:
        return Tree(self._tree, sha256=len(self.last) > len(ZERO))

    async def _learn(self, changes: Changes, commit: str) -> None:
        """Bring the private index to the snapshot; after a crash before this the same changes are found again."""
        reread = any(blob.data is None for _, blob in changes.written)
        if reread or len(changes.written) > _REFRESH_AFTER:
            await self._run("read-tree", "-m", commit)  # keeps what is known of the files that did not change
        else:
            gone = [b"0 %s\t%s" % (b"0" * len(self.last), path) for path in changes.removed]
            here = [b"%s %s 0\t%s" % (blob.mode.encode(), blob.name.encode(), path) for path, blob in changes.written]
            await self._run("update-index", "-z", "--index-info", data=b"".join(line + b"\0" for line in gone + here))
        for path in (*changes.removed, *(path for path, _ in changes.written)):
            self._submodules.pop(path, None)
        self._unsettled += len(changes.written)
        if self._unsettled > _REFRESH_AFTER:
            await self._run("update-index", "-q", "--refresh", ok=())
            self._unsettled = 0

    async def _run(self, *words: str, data: bytes = b"", ok: tuple[int, ...] = (0,), writes: bool = False) -> bytes:
        """Run git on the tree; ``writes`` says that it changes files there."""
        mark = self.index.with_name(WRITING) if writes else None
        result = await self._git.run(
            *words, at=self._mirror.path, tree=self._tree, index=self.index, data=data, mark=mark, ok=ok
        )
        return result.out
