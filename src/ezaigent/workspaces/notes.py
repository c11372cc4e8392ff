"""What of a repository is left out of a tree, said in one sentence each."""

from __future__ import annotations

import os

from ezaigent.workspaces.mirrors import Mirror

_SHOWN = 5


async def left_out(mirror: Mirror, commit: str, submodules: list[bytes]) -> tuple[str, ...]:
    """Return notes about submodules (their folders stay empty) and files of Git LFS (they stay pointers)."""
    notes: list[str] = []
    if submodules:
        names = ", ".join(os.fsdecode(path) for path in submodules[:_SHOWN])
        more = f" and {len(submodules) - _SHOWN} more" if len(submodules) > _SHOWN else ""
        notes.append(f"submodules are not fetched, their folders are empty: {names}{more}")
    found = await mirror.git.run(
        "grep", "--quiet", "-I", "-F", "-e", "filter=lfs", commit, "--", ":(glob)**/.gitattributes",
        at=mirror.path, ok=(),
    )  # fmt: skip
    if found.code == 0:
        notes.append(
            "files of Git LFS are not fetched: in their place are small pointer files, which must stay as they are"
        )
    return tuple(notes)
