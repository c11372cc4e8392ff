"""A workspace whose opening is stopped leaves no half a tree behind."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from tests.services import until
from tests.workspaces.conftest import Source

from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspaces

_SLOW = """#!/bin/sh
case "$*" in *"read-tree --reset -u"*)
    if [ -e '{folder}/hang' ]; then
        for word; do case "$word" in --work-tree=*) echo half > "${{word#--work-tree=}}/README.md";; esac; done
        trap 'rm "{folder}/lock"; exit 143' TERM
        touch '{folder}/lock' '{folder}/hangs'
        sleep 3600 & wait
    fi;;
esac
exec '{git}' "$@"
"""
"""A git that writes one file and then hangs, holding a lock until it is asked to end."""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "slow"
    folder.mkdir()
    git = shutil.which("git")
    assert git is not None
    (folder / "git").write_text(_SLOW.format(folder=folder, git=git))
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


async def test_a_tree_that_was_being_filled_is_removed_and_git_has_removed_its_lock(
    home: Path, sandbox: Sandbox, source: Source, slow: Path
) -> None:
    workspaces = Workspaces(home, WorkspaceSettings(), sandbox)
    (slow / "hang").touch()
    opening = asyncio.create_task(workspaces.open(task_id="t1", repo=str(source.path), base=None))
    await until((slow / "hangs").exists, within=30)
    assert (home / "trees" / "t1" / "README.md").read_text() == "half\n"
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert list((home / "trees").iterdir()) == []
    assert not (slow / "lock").exists()

    (slow / "hang").unlink()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert (workspace.path / "README.md").read_text() == "# Project\n"
    assert list((home / "trees").iterdir()) == [workspace.path], "nobody else writes into it: it is not set aside"
    refs = await workspaces._git.line("for-each-ref", "refs/ezaigent/salvage", at=_mirror(home))  # pyright: ignore[reportPrivateUsage]
    assert refs == "", "nothing half-made is kept as somebody's work"
    await workspace.close()


def _mirror(home: Path) -> Path:
    (found,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    return found


async def test_a_command_that_ignores_the_request_to_end_is_ended_with_its_children(
    workspaces: Workspaces, slow: Path
) -> None:
    (slow / "git").write_text(f"#!/bin/sh\ntrap '' TERM\nsleep 3599 &\necho $! > '{slow}/child'\nwait\nsleep 3599\n")
    running = asyncio.create_task(workspaces._git.run("status"))  # pyright: ignore[reportPrivateUsage]
    child = slow / "child"
    await until(lambda: child.exists() and child.read_text().strip(), within=30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not _runs(int(child.read_text())), what="its child has ended")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
