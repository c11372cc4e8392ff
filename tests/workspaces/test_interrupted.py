"""A workspace whose opening is stopped leaves no half a tree behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.services import until
from tests.workspaces.conftest import Source

from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspaces
from ezaigent.workspaces import opening as module

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


_ORPHANED = """#!/bin/sh
case "$*" in *"read-tree --reset -u"*)
    if [ -e '{folder}/hang' ]; then
        touch '{folder}/hangs'
        while [ ! -e '{folder}/go' ]; do sleep 0.05; done
        echo late > README.md
        touch '{folder}/wrote'
        exit 0
    fi;;
esac
exec '{git}' "$@"
"""
"""A git that writes into its tree only when it is told to, long after its worker was killed."""
_WORKER = """
import asyncio, sys
from pathlib import Path
from ezaigent.core.settings import SandboxSettings, WorkspaceSettings
from ezaigent.workspaces import Workspaces, detect
async def main():
    sandbox = await detect(SandboxSettings(level="off"))
    await Workspaces(Path(sys.argv[1]), WorkspaceSettings(), sandbox).open(task_id="t1", repo=sys.argv[2], base=None)
asyncio.run(main())
"""


@pytest.fixture
async def orphaned(home: Path, source: Source, slow: Path) -> AsyncGenerator[Path]:
    """A tree whose worker was killed while its git was about to write into it."""
    git = shutil.which("git", path=os.environ["PATH"].partition(os.pathsep)[2])
    (slow / "git").write_text(_ORPHANED.format(folder=slow, git=git))
    (slow / "hang").touch()
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", _WORKER, str(home), str(source.path))
    await until((slow / "hangs").exists, within=60, what="its git writes")
    worker.kill()
    await worker.wait()
    (slow / "hang").unlink()
    yield slow
    (slow / "go").touch()
    await until((slow / "wrote").exists, within=30, what="nothing is left behind")


async def test_a_tree_is_taken_over_when_the_git_of_a_killed_worker_has_ended(
    workspaces: Workspaces, home: Path, source: Source, orphaned: Path
) -> None:
    opening = asyncio.create_task(workspaces.open(task_id="t1", repo=str(source.path), base=None))
    await asyncio.wait({opening}, timeout=1)
    assert not opening.done(), "somebody still writes there"
    (orphaned / "go").touch()
    workspace = await opening
    assert (orphaned / "wrote").exists()
    assert (workspace.path / "README.md").read_text() == "# Project\n"
    assert list((home / "trees").iterdir()) == [workspace.path]
    await workspace.close()


async def test_a_git_that_does_not_end_keeps_the_old_tree_to_itself(
    workspaces: Workspaces, source: Source, orphaned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    (orphaned / "go").touch()
    await until((orphaned / "wrote").exists, within=30)
    assert (workspace.path / "README.md").read_text() == "# Project\n"
    await workspace.close()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
