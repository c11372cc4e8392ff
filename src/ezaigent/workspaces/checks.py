"""Running a repository's own checks on one exact tree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ezaigent.core.change import CheckResult
from ezaigent.workspaces.mirrors import SANDBOX_CONFIG
from ezaigent.workspaces.sandbox import Sandbox
from ezaigent.workspaces.snapshots import Snapshots

OUTPUT: Final = 16 * 1024
"""Bytes kept of the end of a check's output."""
_SHOWN: Final = 5


def environment(mirror: Path) -> dict[str, str]:
    """Return what makes reading with git (log, diff, status, blame, show) work inside the sandbox."""
    return {
        "GIT_OPTIONAL_LOCKS": "0",  # the mirror is read-only inside, so git must not try to refresh its index
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "PAGER": "cat",
        "GIT_CONFIG_SYSTEM": str(mirror / SANDBOX_CONFIG),
    }


async def run_checks(
    sandbox: Sandbox, snapshots: Snapshots, commands: Sequence[str], *, tree: Path, mirror: Path
) -> tuple[CheckResult, ...]:
    """Run ``commands`` in ``tree``, which is as last saved in ``snapshots``, and leave it like that.

    Each command starts from the saved content. One that changes files of the repository fails, whatever its exit
    code, because what it tested is not what would be committed; its changes are taken back. Files that it adds, such
    as build results, stay for the commands after it and are removed at the end.
    """
    name = await snapshots.tree_name()
    results: list[CheckResult] = []
    for command in commands:
        ran = await sandbox.run(command, cwd=tree, writable=tree, readable=[mirror], env=environment(mirror))
        output = ran.output
        touched = await snapshots.differences()
        if touched.changed:
            files = ", ".join(os.fsdecode(path) for path in touched.changed[:_SHOWN])
            if len(touched.changed) > _SHOWN:
                files += f" and {len(touched.changed) - _SHOWN} more"
            output += (
                f"\n[ezaigent] this check changed files of the repository ({files}), so it says nothing about the tree "
                "as it is; they were put back. Make the edits part of the change, or use a form of the command that "
                "only looks.\n"
            )
            await snapshots.put_back(touched.only_changed())
        results.append(
            CheckResult(
                command=command,
                ok=ran.exit_code == 0 and not ran.timed_out and ran.limit is None and not touched.changed,
                exit_code=ran.exit_code,
                output=_end(output),
                seconds=ran.seconds,
                tree=name,
            )
        )
    await snapshots.put_back(await snapshots.differences())
    return tuple(results)


def _end(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= OUTPUT:
        return data.decode("utf-8")
    return "[…]\n" + data[-OUTPUT + 8 :].decode("utf-8", "ignore")
