"""What a task starts from: its base with the changes of the tasks that it needs merged onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ezaigent.core.errors import RunError
from ezaigent.workspaces.mirrors import Mirror

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Merged:
    """How two commits came together."""

    tree: str
    """Empty on a conflict."""
    conflicts: tuple[str, ...] = ()
    """Files that both sides changed in ways that do not fit."""

    @property
    def files(self) -> str:
        """The conflicting files for one line of text."""
        more = len(self.conflicts) - _SHOWN
        return ", ".join(self.conflicts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


async def merge_trees(mirror: Mirror, ours: str, theirs: str) -> Merged:
    """Merge two commits in the mirror, without any tree on disk and without any merge driver."""
    result = await mirror.git.run(
        "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--allow-unrelated-histories", ours, theirs,
        at=mirror.path, ok=(0, 1),
    )  # fmt: skip
    tree, *files = [part.decode("utf-8", "replace") for part in result.out.split(b"\0") if part]
    if result.code == 0:
        return Merged(tree.strip())
    return Merged("", tuple(dict.fromkeys(files)))


async def is_ancestor(mirror: Mirror, old: str, new: str) -> bool:
    """Tell whether everything of ``old`` is in ``new`` already."""
    return (await mirror.git.run("merge-base", "--is-ancestor", old, new, at=mirror.path, ok=(0, 1))).code == 0


async def with_parents(mirror: Mirror, base: str, parents: Sequence[str]) -> str:
    """Return ``base`` with ``parents`` merged onto it, in order; the same input gives the same commit.

    Raises ``RunError``: not retryable when the changes contradict each other, retryable when one is not here.
    """
    start = base
    for parent in dict.fromkeys(parents):
        if await mirror.commit(parent) is None:
            raise RunError(
                f"the change {parent[:12]} of a needed task is not on this machine and was not handed back to "
                f"{mirror.repository}: publish its branch there or run that task again"
            )
        if await is_ancestor(mirror, parent, base):
            continue
        if await is_ancestor(mirror, base, parent):
            base = parent
            continue
        merged = await merge_trees(mirror, base, parent)
        if merged.conflicts or not merged.tree:
            first = await _name(mirror, start if base == start else base, start, parents)
            raise RunError(
                f"{await _name(mirror, parent, start, parents)} and {first} cannot be merged, both change "
                f"{merged.files}: merge them by hand, then submit the task with that base",
                retryable=False,
            )
        when = max([await _when(mirror, base), await _when(mirror, parent)])
        message = f"Merge {await _name(mirror, parent, start, parents)} for a task that needs it\n"
        base = await mirror.write_commit(merged.tree, [base, parent], message, when=f"{when} +0000")
    return base


async def _when(mirror: Mirror, commit: str) -> int:
    return int(await mirror.git.line("show", "-s", "--format=%ct", commit, at=mirror.path))


async def _name(mirror: Mirror, commit: str, start: str, parents: Sequence[str]) -> str:
    """Call a commit what a person calls it: the branch of the change, where there is one."""
    places = ("refs/heads/ezaigent", "refs/remotes/origin/ezaigent", "refs/remotes/origin")
    shown = await mirror.git.line(
        "for-each-ref", "--format=%(refname:short)", f"--points-at={commit}", *places, at=mirror.path
    )
    names = [name.removeprefix("origin/") for name in shown.splitlines()]
    for name in sorted(names, key=lambda name: not name.startswith("ezaigent/")):
        return name
    if commit == start or not parents:
        return f"the base {commit[:12]}"
    earlier = [
        await _name(mirror, parent, start, ()) for parent in parents if await is_ancestor(mirror, parent, commit)
    ]
    return " with ".join(dict.fromkeys(earlier)) or f"commit {commit[:12]}"
