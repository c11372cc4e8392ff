"""Where things lie below the data folder, and how a tree is tied to its mirror so that git works inside of it.

::

    mirrors/<repository>/            bare mirror
    mirrors/<repository>/worktrees/  one folder per tree: HEAD and an index, read-only for agents
    trees/<task-id>/                 the tree that an agent works in
    attached/<task-id>/              the room's own notes about it: private index, owner
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from ezaigent.core.errors import UsageError

_LOCKS = 256
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one data folder."""

    root: Path

    @property
    def mirrors(self) -> Path:
        """Folder of all mirrors."""
        return self.root / "mirrors"

    @property
    def trees(self) -> Path:
        """Folder of all trees."""
        return self.root / "trees"

    @property
    def notes(self) -> Path:
        """Folder of the room's own notes about trees."""
        return self.root / "attached"

    def tree(self, task_id: str) -> Path:
        """Return where the task's tree is. Raises ``UsageError`` for an id that could not be a folder's name."""
        if not _ID.fullmatch(task_id):
            raise UsageError(f"{task_id!r} cannot be a task id: use letters, digits, '-' and '_'")
        return self.trees / task_id

    def note(self, task_id: str) -> Path:
        """Return the folder of the room's notes about the task's tree."""
        return self.notes / task_id

    def lock(self, task_id: str) -> Path:
        """Return the file that is locked while the task's tree is opened or removed.

        Tasks share a fixed number of them, because a lock's file must never be removed.
        """
        return self.notes / "locks" / f"{crc32(task_id.encode()) % _LOCKS}.lock"


def admin_folder(mirror: Path, name: str) -> Path:
    """Return the folder in which git keeps HEAD and index of the tree ``name``."""
    return mirror / "worktrees" / name


def tie(mirror: Path, name: str, tree: Path, head: str) -> Path:
    """Make ``tree`` a worktree of ``mirror`` with ``head`` (a commit, or ``ref: …``); return its admin folder.

    This is what ``git worktree add --lock`` writes (see gitrepository-layout), without looking through all the other
    worktrees. Nothing here is ever read back by this room: git is always told its folders explicitly.
    """
    admin = admin_folder(mirror, name)
    admin.mkdir(parents=True, exist_ok=True)
    for file, text in (
        ("HEAD", f"{head}\n"),
        ("commondir", "../..\n"),
        ("gitdir", f"{tree / '.git'}\n"),
        ("locked", "in use by a task\n"),
    ):
        part = admin / f"{file}.new"
        part.write_text(text, encoding="utf-8", errors="surrogateescape")
        part.replace(admin / file)
    _link(tree / ".git", f"gitdir: {admin}\n")
    return admin


def _link(path: Path, text: str) -> None:
    if path.is_dir() and not path.is_symlink():
        return  # a repository that the agent made in place of the link: its own affair, and never trusted
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def untie(mirror: Path, name: str) -> None:
    """Forget the worktree ``name``."""
    shutil.rmtree(admin_folder(mirror, name), ignore_errors=True)


def open_up(tree: Path) -> None:
    """Give the owner back the permissions on folders that a command took away, so that the tree can be restored."""
    os.chmod(tree, 0o700)  # noqa: PTH101
    for folder, names, _ in os.walk(os.fsencode(tree)):  # parents first, so that what was closed is walked into
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118  (names may hold any bytes)
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                os.chmod(path, mode | stat.S_IRWXU)  # noqa: PTH101


def remove_tree(path: Path) -> None:
    """Remove a tree, also where an agent took its own permissions away."""

    def allow(_function: object, name: str, _error: object) -> None:
        parent = os.path.dirname(name)  # noqa: PTH120  (names may hold any bytes)
        try:
            os.chmod(parent, 0o700)  # noqa: PTH101
            if not os.path.islink(name):  # noqa: PTH114
                os.chmod(name, 0o700)  # noqa: PTH101
            if os.path.isdir(name) and not os.path.islink(name):  # noqa: PTH112, PTH114
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)  # noqa: PTH108
        except OSError:
            return

    for _ in range(2):  # a folder whose parts could only be removed after they were allowed is empty the second time
        if path.is_symlink() or not path.exists():
            return
        shutil.rmtree(path, onerror=allow)
