"""A tree is found again after a crash exactly as its checkpoint says, and nothing that was there is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.errors import RunError, StaleFence, UsageError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspace, Workspaces


def files(tree: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path != tree / ".git"
    }


def mirror_git(home: Path, *words: str) -> str:
    (mirror,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    done = subprocess.run(["git", f"--git-dir={mirror}", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Reopen:
    """Opens task t1 as a new process would."""

    def __init__(self, home: Path, sandbox: Sandbox, source: Source) -> None:
        self._home, self._sandbox, self._source = home, sandbox, source

    async def __call__(self, checkpoint: str | None = None, *, resumed: bool | None = None) -> Workspace:
        spaces = Workspaces(self._home, WorkspaceSettings(), self._sandbox)
        return await spaces.open(
            task_id="t1", repo=str(self._source.path), base=None, checkpoint=checkpoint, resumed=resumed
        )


@pytest.fixture
def reopen(home: Path, sandbox: Sandbox, source: Source) -> Reopen:
    return Reopen(home, sandbox, source)


async def test_restores_exactly_the_checkpoint_and_saves_what_differs(reopen: Reopen, home: Path) -> None:
    first = await reopen()
    (first.path / "kept").write_text("kept")
    (first.path / ".gitignore").write_text("cache/\n")
    checkpoint = await first.checkpoint("One")
    wanted = files(first.path)
    (first.path / "cache").mkdir()
    (first.path / "cache" / "c").write_text("c")
    (first.path / "kept").write_text("half written")
    (first.path / "README.md").unlink()
    (first.path / "later" / "deep").mkdir(parents=True)
    (first.path / "later" / "deep" / "x").write_text("only here")
    await first.close()
    second = await reopen(checkpoint)
    assert files(second.path) == wanted | {"cache/c": b"c"}
    assert not (second.path / "later").exists()
    assert await second.checkpoint("Nothing") is None
    saved = "refs/ezaigent/salvage/t1/1"
    assert mirror_git(home, "show", f"{saved}:later/deep/x") == "only here"
    assert mirror_git(home, "show", f"{saved}:kept") == "half written"
    assert "README.md" not in mirror_git(home, "ls-tree", "--name-only", saved).split()


async def test_a_tree_that_is_as_the_checkpoint_says_is_not_touched(reopen: Reopen, home: Path) -> None:
    first = await reopen()
    (first.path / "a").write_text("a")
    checkpoint = await first.checkpoint("One")
    before = (first.path / "a").stat()
    await first.close()
    second = await reopen(checkpoint)
    assert (second.path / "a").stat().st_ino == before.st_ino
    assert mirror_git(home, "for-each-ref", "refs/ezaigent/salvage") == ""


async def test_an_earlier_checkpoint_can_be_restored(reopen: Reopen, home: Path) -> None:
    """The journal may be one step behind: what the newer checkpoint holds is kept aside."""
    first = await reopen()
    (first.path / "a").write_text("1")
    earlier = await first.checkpoint("One")
    (first.path / "a").write_text("2")
    later = await first.checkpoint("Two")
    await first.close()
    second = await reopen(earlier)
    assert (second.path / "a").read_text() == "1"
    assert mirror_git(home, "rev-parse", "refs/ezaigent/salvage/t1/1") == later
    assert mirror_git(home, "for-each-ref", "refs/ezaigent/salvage").count("\n") == 0, "one tree is saved once"
    (second.path / "a").write_text("3")
    third = await second.checkpoint("Three")
    assert mirror_git(home, "rev-parse", f"{third}^") == earlier


async def test_the_tree_comes_back_when_its_folder_is_gone(reopen: Reopen) -> None:
    first = await reopen()
    (first.path / "a").write_text("a")
    (first.path / "link").symlink_to("a")
    checkpoint = await first.checkpoint("One")
    shutil.rmtree(first.path)
    second = await reopen(checkpoint)
    assert (second.path / "a").read_text() == "a"
    assert (second.path / "link").readlink() == Path("a")
    assert (await second.run("git status --porcelain")).output.splitlines() == ["?? a", "?? link"]


async def test_another_machine_goes_on_where_the_ref_is(
    reopen: Reopen, home: Path, tmp_path: Path, sandbox: Sandbox, source: Source
) -> None:
    first = await reopen()
    (first.path / "a").write_text("a")
    checkpoint = await first.checkpoint("One")
    source.commit({"README.md": "the source moved on\n"})
    elsewhere = Workspaces(tmp_path / "elsewhere", WorkspaceSettings(), sandbox)
    await (await elsewhere.open(task_id="other", repo=str(source.path), base=None)).close()
    (mirror,) = [path for path in (tmp_path / "elsewhere" / "mirrors").iterdir() if path.is_dir()]
    mirror_git(home, "push", "-q", str(mirror), "refs/ezaigent/checkpoints/t1")
    second = await elsewhere.open(task_id="t1", repo=str(source.path), base=None, checkpoint=checkpoint)
    assert second.base == first.base
    assert (second.path / "a").read_text() == "a"
    assert (second.path / "README.md").read_text() == "# Project\n"


async def test_a_checkpoint_that_is_not_here_is_said_in_one_line(reopen: Reopen) -> None:
    with pytest.raises(RunError, match=r"checkpoint 0123456789ab of task t1 is not on this machine") as caught:
        await reopen("0123456789abcdef0123456789abcdef01234567")
    assert caught.value.retryable


async def test_a_resumed_run_keeps_its_base_and_a_new_attempt_takes_the_newest(reopen: Reopen, source: Source) -> None:
    first = await reopen()
    await first.close()
    moved = source.commit({"new": "new"})
    resumed = await reopen(resumed=True)
    assert resumed.base == first.base
    await resumed.close()
    assert (await reopen()).base == moved


async def test_a_new_attempt_starts_clean_and_keeps_the_old_work_aside(reopen: Reopen, home: Path) -> None:
    first = await reopen()
    (first.path / "a").write_text("a")
    checkpoint = await first.checkpoint("One")
    change = await first.commit(message="M", author="a", trailers={})
    (first.path / "b").write_text("b")
    await first.close()
    second = await reopen()
    assert sorted(files(second.path)) == ["README.md", "src/app.py"]
    assert mirror_git(home, "rev-parse", "refs/heads/ezaigent/t1") == second.base
    saved = mirror_git(home, "for-each-ref", "--format=%(objectname)", "refs/ezaigent/salvage").split()
    assert {change.commit, checkpoint} & set(saved)
    assert any("b" in mirror_git(home, "ls-tree", "--name-only", commit).split() for commit in saved)


async def test_a_late_run_finds_out_that_it_lost_its_tree(reopen: Reopen, home: Path) -> None:
    first = await reopen()
    (first.path / "a").write_text("a")
    checkpoint = await first.checkpoint("One")
    second = await reopen(checkpoint)
    (first.path / "late").write_text("late")
    for late in (
        lambda: first.checkpoint("Late"),
        lambda: first.run("true"),
        lambda: first.commit(message="Late", author="a", trailers={}),
        lambda: first.check(["true"]),
    ):
        with pytest.raises(StaleFence):
            await late()
    await first.close()
    (second.path / "b").write_text("b")
    assert await second.checkpoint("Two") is not None


async def test_a_process_that_still_holds_the_old_tree_cannot_write_into_the_new_one(reopen: Reopen) -> None:
    first = await reopen()
    writer = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", "input(); open('late', 'w').write('late')"], cwd=first.path, stdin=subprocess.PIPE
    )
    second = await reopen(resumed=True)
    writer.communicate(b"\n")
    assert writer.returncode == 0
    assert not (second.path / "late").exists()
    assert await second.checkpoint("Nothing") is None


async def test_a_git_of_a_run_that_lives_on_keeps_the_lock_of_its_index(reopen: Reopen, home: Path) -> None:
    first = await reopen()
    held = locked(home)
    second = await reopen(resumed=True)
    assert all(lock.exists() for lock in held), "both would write the same index"
    (second.path / "a").write_text("a")
    assert await second.checkpoint("Two") is not None
    await first.close()


async def test_the_lock_of_a_run_that_is_over_is_removed(reopen: Reopen, home: Path) -> None:
    first = await reopen()
    held = locked(home)
    await first.close()
    second = await reopen(resumed=True)
    assert not any(lock.exists() for lock in held)
    assert len(indexes(home)) == 1, "the index before is not kept"
    (second.path / "a").write_text("a")
    assert await second.checkpoint("Two") is not None


def indexes(home: Path) -> list[Path]:
    """Return the private indexes of the task."""
    return [path for path in (home / "attached" / "t1").glob("index*") if path.suffix != ".lock"]


def locked(home: Path) -> list[Path]:
    """Lock the private indexes as a git does that began long ago."""
    locks = [path.with_name(f"{path.name}.lock") for path in indexes(home)]
    for lock in locks:
        lock.touch()
        os.utime(lock, (time.time() - 60, time.time() - 60))
    assert locks
    return locks


async def test_after_a_crash_the_same_folder_goes_on(home: Path, source: Source, reopen: Reopen) -> None:
    """A dead process writes no more, so installed packages and caches are still there."""
    script = (
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from ezaigent.core.settings import SandboxSettings, WorkspaceSettings\n"
        "from ezaigent.workspaces import Workspaces, detect\n"
        "async def main(home, repo):\n"
        "    spaces = Workspaces(Path(home), WorkspaceSettings(), await detect(SandboxSettings(level='off')))\n"
        "    tree = await spaces.open(task_id='t1', repo=repo, base=None)\n"
        "    (tree.path / 'a').write_text('a')\n"
        "    print(await tree.checkpoint('One'), flush=True)\n"
        "    (tree.path / 'node_modules').mkdir()\n"
        "    (tree.path / 'a').write_text('unsaved')\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    died = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", script, str(home), str(source.path)], capture_output=True, text=True, check=False
    )
    assert died.returncode == -9, died.stderr
    second = await reopen(died.stdout.strip())
    assert (second.path / "a").read_text() == "a"
    assert (second.path / "node_modules").is_dir()
    assert mirror_git(home, "show", "refs/ezaigent/salvage/t1/1:a") == "unsaved"


async def test_reopening_mends_the_git_link(reopen: Reopen) -> None:
    first = await reopen()
    (first.path / ".git").unlink()
    (first.path / ".git").symlink_to("/etc")
    await first.close()
    second = await reopen(resumed=True)
    assert (second.path / ".git").is_file()
    assert "t1" in (await second.run("git rev-parse --abbrev-ref HEAD")).output


@pytest.mark.parametrize("task_id", ["", "..", "a/b", "-x", "x" * 200, "a.lock"])
async def test_an_id_that_cannot_be_a_folder_is_refused(workspaces: Workspaces, source: Source, task_id: str) -> None:
    with pytest.raises(UsageError, match="cannot be a task id"):
        await workspaces.open(task_id=task_id, repo=str(source.path), base=None)
