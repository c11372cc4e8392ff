"""A change in numbers and as a patch, computed in the mirror: no external diff, no text conversion, no tree on disk."""

from __future__ import annotations

from typing import Final

from ezaigent.core.change import PATHS, Change
from ezaigent.workspaces.mirrors import Mirror

PATCH: Final = 8 * 1024 * 1024
"""Bytes of a patch that are shown; the rest is cut and said so."""


async def change_of(mirror: Mirror, *, branch: str, base: str, commit: str, tree: str) -> Change:
    """Return the change from ``base`` to ``commit``; lines of binary files count as none."""
    listed = await mirror.git.run(
        "diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", base, commit,
        at=mirror.path,
    )  # fmt: skip
    rows = [row.split(b"\t", 2) for row in listed.out.split(b"\0") if row]
    counts = [(int(added), int(gone)) for added, gone, _ in rows if added != b"-"]
    return Change(
        branch=branch,
        commit=commit,
        tree=tree,
        base=base,
        files=len(rows),
        paths=tuple(name.decode("utf-8", "replace") for _, _, name in rows[:PATHS]),
        insertions=sum(added for added, _ in counts),
        deletions=sum(gone for _, gone in counts),
    )


async def changed_paths(mirror: Mirror, base: str, commit: str) -> list[bytes]:
    """Return the files that differ between two commits; a renamed file counts under both names."""
    listed = await mirror.git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, commit, at=mirror.path)
    return [path for path in listed.out.split(b"\0") if path]


async def patch(mirror: Mirror, base: str, commit: str) -> str:
    """Return the patch from ``base`` to ``commit``, at most ``PATCH`` bytes of it."""
    shown = await mirror.git.run(
        "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short", "--find-renames", base, commit,
        at=mirror.path,
    )  # fmt: skip
    text = shown.out[:PATCH].decode("utf-8", "replace")
    return text if len(shown.out) <= PATCH else f"{text}\n[cut: the whole patch has {len(shown.out)} bytes]\n"
