"""Git itself: bounded in time, ended with its children, telling no secrets."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.errors import UnavailableError
from ezaigent.workspaces import Git
from ezaigent.workspaces.credentials import Credential
from ezaigent.workspaces.git import GitFailed, scrub
from ezaigent.workspaces.stale_locks import named_in, remove_stale


async def test_a_failure_is_one_line_with_gits_reason(source: Source) -> None:
    with pytest.raises(GitFailed, match=r"git rev-parse failed with 128: fatal: Needed a single revision") as caught:
        await Git().run("rev-parse", "--verify", "nothing", at=source.path / ".git")
    assert "\n" not in str(caught.value)


async def test_missing_git_and_missing_folders_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"the folder .* is gone"):
        await Git().run("status", at=tmp_path, tree=tmp_path / "gone")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="git is not installed"):
        await Git().version()


async def test_an_old_git_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\necho git version 2.37.4\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UnavailableError, match=r"git version 2\.37\.4 is too old: install git 2\.38"):
        await Git().version()


def sleepers(word: str) -> list[str]:
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(path.parent.name)
    return found


async def test_a_command_that_takes_too_long_is_ended_with_its_children(source: Source) -> None:
    begun, nap = time.monotonic(), f"{random.uniform(300, 400):.9f}"
    with pytest.raises(UnavailableError, match="took longer than 1 s"):
        await Git().run("-c", f"alias.nap=!sleep {nap}", "nap", at=source.path / ".git", timeout=1)
    assert time.monotonic() - begun < 20
    await until_gone(nap)


async def test_cancelling_ends_the_command_with_its_children(source: Source) -> None:
    nap = f"{random.uniform(300, 400):.9f}"
    task = asyncio.create_task(Git().run("-c", f"alias.nap=!sleep {nap}", "nap", at=source.path / ".git"))
    async with asyncio.timeout(20):
        while not sleepers(nap):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(nap)


async def until_gone(word: str) -> None:
    async with asyncio.timeout(20):
        while sleepers(word):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_scrubbing() -> None:
    text = "fatal: unable to access 'https://me:pa%2Fss@host/x': pa/ss was refused, see ssh://git@host"
    assert scrub(text, Credential("host", "me", "pa/ss").secrets) == (
        "fatal: unable to access 'https://host/x': *** was refused, see ssh://host"
    )
    assert "tok" not in repr(Credential("host", "me", "tok"))


async def test_what_the_other_side_says_is_scrubbed(tmp_path: Path) -> None:
    result = await Git().run(
        "ls-remote",
        "http://user:hunter2@127.0.0.1:9/x",
        network=True,
        credential=Credential("127.0.0.1:9", "user", "hunter2"),
        ok=(),
    )
    assert result.code != 0
    assert "hunter2" not in result.err
    assert "hunter2" not in result.reason


async def test_a_lock_that_a_killed_git_left_behind_is_removed(source: Source) -> None:
    folder = source.path / ".git"
    lock = folder / "refs" / "heads" / "other.lock"
    lock.touch()
    os.utime(lock, (time.time() - 60, time.time() - 60))
    await Git().run("update-ref", "refs/heads/other", "HEAD", at=folder)
    assert not lock.exists()
    assert await Git().line("rev-parse", "refs/heads/other", at=folder)


async def test_a_lock_of_a_living_git_is_waited_for(source: Source) -> None:
    folder = source.path / ".git"
    lock = folder / "refs" / "heads" / "other.lock"
    lock.touch()
    running = asyncio.create_task(Git().run("update-ref", "refs/heads/other", "HEAD", at=folder))
    await asyncio.wait({running}, timeout=0.5)
    assert not running.done()
    assert lock.exists(), "it may be in use"
    lock.unlink()
    assert (await running).code == 0


@pytest.mark.parametrize("own", ["index-1", ""])
async def test_the_lock_of_an_index_is_waited_for_however_old_it_is(source: Source, tmp_path: Path, own: str) -> None:
    """A living git takes it once and then fills a tree for as long as that takes."""
    folder = source.path / ".git"
    index = tmp_path / own if own else None
    lock = (index or folder / "index").with_suffix(".lock")
    lock.touch()
    os.utime(lock, (time.time() - 60, time.time() - 60))
    running = asyncio.create_task(Git().run("read-tree", "HEAD", at=folder, index=index))
    await asyncio.wait({running}, timeout=0.5)
    assert not running.done()
    assert lock.exists()
    lock.unlink()
    assert (await running).code == 0


async def test_what_keeps_git_from_starting_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "git").touch(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"git cannot be started in '/': Permission denied: see to that"):
        await Git().version()


def test_a_lock_that_cannot_be_removed_stays(tmp_path: Path) -> None:
    lock = tmp_path / "other.lock"
    lock.mkdir()
    os.utime(lock, (time.time() - 60, time.time() - 60))
    remove_stale(lock)
    assert lock.is_dir()


def test_only_locks_of_our_own_folders_are_meant(tmp_path: Path) -> None:
    ours, other = tmp_path / "mirror", tmp_path / "home"
    for path, found in ((ours / "index.lock", True), (other / "x.lock", False), (ours / ".." / "home/x.lock", False)):
        said = f"fatal: Unable to create '{path}': File exists.\n\nAnother git process seems to be running"
        assert (named_in(said, [ours]) is not None) == found
    assert named_in("fatal: something else", [ours]) is None
