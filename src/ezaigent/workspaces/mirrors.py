"""The bare mirror of a repository: made once, brought up to date when a task needs it, shared by all its worktrees.

Refs in a mirror::

    refs/remotes/origin/*                branches of the source
    refs/tags/*                          tags of the source
    refs/heads/ezaigent/<task-id>        changes
    refs/ezaigent/bases/<task-id>        the commit a task's branch starts from
    refs/ezaigent/checkpoints/<task-id>  the newest checkpoint; its parents are the earlier ones
    refs/ezaigent/salvage/<task-id>/<n>  work that was about to be replaced or removed
    refs/ezaigent/published/<task-id>    the commit last handed back to the source
"""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.workspaces.git import Git, GitFailed, GitResult
from ezaigent.workspaces.guarding import Guard, unguarded
from ezaigent.workspaces.locks import Locks
from ezaigent.workspaces.repository import Repository

ORIGIN: Final = "refs/remotes/origin/"
ZERO: Final = "0" * 40
_SHA256: Final = 64
_READY: Final = "ezaigent-ready"
IDENTITY: Final = "Ez Aigent <fleet@agents.ezaigent.invalid>"
"""Committer of everything that the fleet writes."""

# No attribute of a repository may change a byte between the repository and the tree: what agents read and write is
# exactly what is committed, and no filter driver is ever looked up.
_ATTRIBUTES: Final = "* -text !eol -ident !filter !working-tree-encoding !merge\n"

SANDBOX_CONFIG: Final = "sandbox.gitconfig"
"""File in a mirror that takes the place of the machine's git configuration inside the sandbox."""
# Inside, files may seem to belong to somebody else.
_SANDBOX_CONFIG: Final = "[safe]\n\tdirectory = *\n[core]\n\tpager = cat\n"

_EXCLUDE: Final = """\
# Caches and installed packages, which no change should hold even where the repository forgot to ignore them.
__pycache__/
*.py[co]
.pytest_cache/
.ruff_cache/
.mypy_cache/
.hypothesis/
.tox/
.venv/
node_modules/
.DS_Store
"""


@dataclass(frozen=True, slots=True)
class Refs:
    """What the source offered when it was last asked."""

    head: str | None
    """Its default branch, without ``refs/heads/``; None for a detached HEAD."""
    head_commit: str | None
    """None for a repository without commits."""


@dataclass
class Mirror:
    """One bare mirror."""

    repository: Repository
    path: Path
    git: Git
    guard: Guard = unguarded
    asked: int = 0
    """Number of look-ups begun; with ``answered`` it lets a hundred agents share one."""
    answered: int = 0
    refs: Refs = field(default_factory=lambda: Refs(None, None))

    async def commit(self, name: str) -> str | None:
        """Return the commit that ``name`` (a ref or id) means in the mirror, or None."""
        found = await self.git.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", at=self.path, ok=()
        )
        return found.text if found.code == 0 else None

    async def tree(self, commit: str) -> str:
        """Return the tree of a commit."""
        return await self.git.line("rev-parse", "--verify", f"{commit}^{{tree}}", at=self.path)

    async def set_ref(self, ref: str, commit: str, old: str | None = None) -> None:
        """Point ``ref`` to ``commit``; with ``old`` only when it points there now (all zeros: when it is not there)."""
        expected = [] if old is None else [old]
        await self.git.run("update-ref", "--no-deref", ref, commit, *expected, at=self.path)

    async def drop_refs(self, refs: list[str]) -> None:
        """Remove refs; one that is not there is fine."""
        if refs:
            data = b"".join(f"delete {ref}\n".encode() for ref in refs)
            await self.git.run("update-ref", "--no-deref", "--stdin", at=self.path, data=data)

    async def list_refs(self, *patterns: str) -> dict[str, str]:
        """Return the refs below ``patterns`` with what they point to."""
        shown = await self.git.line("for-each-ref", "--format=%(refname) %(objectname)", *patterns, at=self.path)
        return dict(line.split(" ", 1) for line in shown.splitlines())

    async def write_commit(
        self, tree: str, parents: list[str], message: str, *, author: str = "", when: str | None = None
    ) -> str:
        """Write a commit (no ref) and return its id.

        ``author`` is ``Name <mail>``; the committer is always the fleet. ``when`` (``<seconds> +0000``) fixes both
        dates, so that the same content gives the same id.
        """
        when = when or f"{int(time.time())} +0000"
        lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents)]
        lines += [f"author {author or IDENTITY} {when}".encode(), f"committer {IDENTITY} {when}".encode(), b""]
        body = b"\n".join(lines) + b"\n" + message.encode("utf-8", "replace").replace(b"\0", b"")
        data = body if body.endswith(b"\n") else body + b"\n"
        return (await self.git.run("hash-object", "-t", "commit", "-w", "--stdin", at=self.path, data=data)).text

    async def resolve(self, base: str | None) -> tuple[str, str | None]:
        """Return the commit that a task starts from, and the branch of the source it is on, where it is one.

        ``base`` is a branch, tag or commit id of the source; None is its default branch. Raises ``UsageError``,
        naming near matches, when there is no such thing.
        """
        if base is None or base == "HEAD":
            commit = self.refs.head_commit and await self.commit(self.refs.head_commit)
            return (commit, self.refs.head) if commit else (await self._empty_root(), self.refs.head)
        if base.startswith("-") or base != base.strip() or not base:
            raise UsageError(f"{base!r} cannot be a branch, tag or commit: give one of the repository")
        short = base.removeprefix("refs/heads/").removeprefix("origin/")
        for branch in dict.fromkeys((base.removeprefix("refs/heads/"), short)):
            if commit := await self.commit(f"{ORIGIN}{branch}"):
                return commit, branch
        if commit := await self.commit(f"refs/tags/{base.removeprefix('refs/tags/')}"):
            return commit, None
        if re.fullmatch(r"[0-9a-f]{7,64}", base) and (commit := await self.commit(base)):
            return commit, None
        if commit := await self.commit(f"refs/heads/{short}"):  # the change of another task
            return commit, None
        raise UsageError(await self._unknown(base))

    async def _unknown(self, base: str) -> str:
        refs = await self.list_refs(ORIGIN, "refs/tags")
        return unknown_base(self.repository, base, [ref.replace(ORIGIN, "refs/heads/") for ref in refs])

    async def _empty_root(self) -> str:
        """Return the commit that stands for "nothing yet" under a repository without commits: always the same."""
        tree = (await self.git.run("hash-object", "-t", "tree", "-w", "--stdin", at=self.path)).text
        return await self.write_commit(tree, [], "Start of the repository\n", when="0 +0000")


def unknown_base(repository: Repository, base: str, refs: list[str]) -> str:
    """Say that there is no ``base``, and what there is that comes near it."""
    names = [ref.removeprefix("refs/heads/").removeprefix("refs/tags/") for ref in refs if ref.startswith("refs/")]
    names = [name for name in names if not name.endswith("^{}")]
    if not names:
        return f"{repository} has no commits yet, so there is no {base!r}: leave the base out to start it"
    near = difflib.get_close_matches(base, names, n=3, cutoff=0.5)
    first = [name for name in sorted(names, key=len) if not name.startswith("ezaigent/")][:3]
    return f"{repository} has no branch, tag or commit {base!r}; it has {', '.join(near or first)}"


def sync_path(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Mirrors:
    """All mirrors below one folder."""

    def __init__(self, root: Path, git: Git, locks: Locks, guard: Guard = unguarded) -> None:
        """Keep mirrors in ``root``; folders are made when they are needed. ``guard`` is asked before each way out."""
        self._root = root
        self._git = git
        self._locks = locks
        self._guard = guard
        self._open: dict[Path, Mirror] = {}

    def paths(self) -> list[Path]:
        """Return the folders of the mirrors that exist."""
        if not self._root.is_dir():
            return []
        return sorted(path for path in self._root.iterdir() if (path / _READY).exists())

    def at(self, path: Path) -> Mirror:
        """Return the mirror in ``path`` for work that needs no source, such as cleaning."""
        return self._open.get(path) or Mirror(Repository("local", str(path), str(path)), path, self._git, self._guard)

    async def get(self, repository: Repository, *, fresh: bool = True) -> Mirror:
        """Return the mirror, made where it is missing, and with ``fresh`` as new as the source is now.

        Raises ``UnavailableError`` in one line when the source cannot be reached.
        """
        await self._git.version()
        path = self._root / repository.folder
        mirror = self._open.setdefault(path, Mirror(repository, path, self._git, self._guard))
        mirror.repository = repository
        if not fresh and (path / _READY).exists():
            return mirror
        mirror.asked += 1
        mine = mirror.asked
        async with self._locks.hold(path.with_suffix(".lock")):
            # Whoever asked while the last look-up was already under way still needs a new one; all others share it.
            if mirror.answered < mine:
                covers = mirror.asked
                await self._refresh(mirror)
                mirror.answered = covers
        return mirror

    async def _refresh(self, mirror: Mirror) -> None:
        repository, git = mirror.repository, self._git
        asked = await self._ask(repository, "ls-remote", "--symref", "--quiet", "--", repository.url)
        refs, head = parse_refs(asked)
        if head is None and repository.git_dir is not None:  # an unborn branch is not told over the wire
            unborn = await git.run("-C", repository.url, "symbolic-ref", "-q", "HEAD", ok=())
            head = unborn.text.removeprefix("refs/heads/") if unborn.code == 0 else None
        mirror.refs = Refs(head, refs.get("HEAD"))
        wanted = {_local_name(ref): commit for ref, commit in refs.items() if _local_name(ref)}
        if not (mirror.path / _READY).exists():
            sha256 = any(len(commit) == _SHA256 for commit in refs.values()) or await _uses_sha256(repository, git)
            await self._create(mirror.path, sha256=sha256)
        if wanted == await mirror.list_refs(ORIGIN, "refs/tags") and await self._has_head(mirror):
            return
        specs = [f"+refs/heads/*:{ORIGIN}*", "+refs/tags/*:refs/tags/*"]
        if mirror.refs.head is None and mirror.refs.head_commit:
            specs.append("+HEAD:refs/ezaigent/head")  # detached: its commit may be on no branch
        await self._ask(
            repository,
            "fetch", "--quiet", "--prune", "--no-tags", "--no-auto-gc", "--no-recurse-submodules", "--update-shallow",
            "--no-write-fetch-head", "--upload-pack=git-upload-pack", "--", repository.url, *specs,
            at=mirror.path,
        )  # fmt: skip

    async def _has_head(self, mirror: Mirror) -> bool:
        return mirror.refs.head_commit is None or await mirror.commit(mirror.refs.head_commit) is not None

    async def _create(self, path: Path, *, sha256: bool) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_suffix(".new")
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)  # what a crash left half made
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        shape = f"--object-format={'sha256' if sha256 else 'sha1'}"
        await self._git.run("init", "--quiet", "--bare", "--template=", shape, "--initial-branch=none", "--", new)
        (new / "info").mkdir(exist_ok=True)
        (new / "info" / "attributes").write_text(_ATTRIBUTES)
        (new / "info" / "exclude").write_text(_EXCLUDE)
        with (new / "config").open("a") as config:
            config.write("[gc]\n\tauto = 0\n[core]\n\tlogAllRefUpdates = false\n\tfsync = committed,reference\n")
        (new / SANDBOX_CONFIG).write_text(_SANDBOX_CONFIG)
        (new / _READY).touch()
        for name in ("HEAD", "config", "info/attributes", "info/exclude", SANDBOX_CONFIG, _READY):
            sync_path(new / name)
        new.rename(path)
        sync_path(self._root)

    async def _ask(self, repository: Repository, *words: str, at: Path | None = None) -> GitResult:
        way = await self._guard(repository)
        try:
            return await self._git.run(
                *words, at=at,
                network=repository.network, credential=repository.credential, flags=way.flags, ssh=way.ssh,
            )  # fmt: skip
        except GitFailed as error:
            raise unreachable(repository, error) from None


def unreachable(repository: Repository, error: GitFailed) -> UnavailableError:
    """Say in one line why the source could not be reached, and what to do."""
    reason = error.result.reason.removeprefix("fatal: ")
    said = error.result.err.lower()
    if any(word in said for word in ("authentication failed", "could not read username", "could not read password")):
        advice = (
            "the login in the URL was refused: check the token"
            if repository.credential
            else "it asks for a login: set up a git credential helper for it (URLs with a token are never stored)"
        )
        return UnavailableError(f"{repository} cannot be read: {advice}")
    if "permission denied (publickey" in said or "host key verification failed" in said:
        return UnavailableError(f"{repository} cannot be read: {reason}; check with `git ls-remote {repository}`")
    return UnavailableError(f"{repository} cannot be read: {reason}")


def parse_refs(result: GitResult) -> tuple[dict[str, str], str | None]:
    """Read what ``ls-remote --symref`` says: objects by ref (``^{}``: what a tag points to), and HEAD's branch."""
    refs: dict[str, str] = {}
    head: str | None = None
    for line in result.text.splitlines():
        value, _, ref = line.partition("\t")
        if value.startswith("ref: "):
            if ref == "HEAD":
                head = value.removeprefix("ref: ").removeprefix("refs/heads/")
        else:
            refs[ref] = value
    return refs, head


def _local_name(ref: str) -> str:
    if ref.startswith("refs/heads/"):
        return ORIGIN + ref.removeprefix("refs/heads/")
    return ref if ref.startswith("refs/tags/") and not ref.endswith("^{}") else ""


async def _uses_sha256(repository: Repository, git: Git) -> bool:
    if repository.git_dir is None:
        return False
    shown = await git.run("rev-parse", "--show-object-format", at=repository.git_dir, ok=())
    return shown.text == "sha256"
