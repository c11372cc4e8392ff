"""Every odd shape of repository works, or is refused with one clear line."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspaces, check_repository


async def round_trip(workspaces: Workspaces, source: Source, repo: str, base: str | None = None) -> str:
    """Open, change, commit and hand back; return the commit that the source then has."""
    workspace = await workspaces.open(task_id="t1", repo=repo, base=base)
    (workspace.path / "new file").write_text("new")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    assert source.tip("ezaigent/t1") == change.commit
    return change.base


async def test_spaces_and_other_alphabets_in_paths(workspaces: Workspaces, make_source: Callable[..., Source]) -> None:
    source = make_source("Meine Projekte/größe 世界", files={"ein pfad/grüße 世界.txt": "hallo"})
    await round_trip(workspaces, source, str(source.path))
    assert "ein pfad/grüße 世界.txt" in source.tree("ezaigent/t1")


@pytest.mark.parametrize("form", ["path", "folder below", "git folder", "file url", "symlink"])
async def test_ways_to_name_a_repository_on_this_machine(
    workspaces: Workspaces, home: Path, source: Source, tmp_path: Path, form: str
) -> None:
    (tmp_path / "link").symlink_to(source.path)
    repo = {
        "path": f"{source.path}/",
        "folder below": str(source.path / "src"),
        "git folder": str(source.path / ".git"),
        "file url": f"file://{source.path}",
        "symlink": str(tmp_path / "link"),
    }[form]
    await round_trip(workspaces, source, repo)
    await workspaces.open(task_id="t2", repo=str(source.path), base=None)
    assert len([path for path in (home / "mirrors").iterdir() if path.is_dir()]) == 1, "one repository, one mirror"


async def test_a_worktree_as_source_starts_from_its_own_branch(
    workspaces: Workspaces, home: Path, source: Source, tmp_path: Path
) -> None:
    source.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    side = Source.__new__(Source)
    side.path = tmp_path / "side"
    tip = side.commit({"side": "side"})
    assert await round_trip(workspaces, source, str(side.path)) == tip
    assert (await workspaces.open(task_id="t2", repo=str(source.path), base=None)).base == source.tip("main")
    assert len([path for path in (home / "mirrors").iterdir() if path.is_dir()]) == 1


async def test_a_detached_head_that_is_on_no_branch(workspaces: Workspaces, source: Source) -> None:
    source.git("checkout", "--quiet", "--detach")
    lonely = source.commit({"lonely": "l"})
    assert await round_trip(workspaces, source, str(source.path)) == lonely


async def test_a_repository_without_commits(workspaces: Workspaces, tmp_path: Path) -> None:
    source = Source(tmp_path / "fresh")
    info = await check_repository(str(source.path))
    assert info.commit is None
    with pytest.raises(UsageError, match="has no commits yet"):
        await check_repository(str(source.path), "main")
    with pytest.raises(UsageError, match="has no commits yet"):
        await workspaces.open(task_id="t0", repo=str(source.path), base="main")
    await round_trip(workspaces, source, str(source.path))
    assert source.tree("ezaigent/t1") == ["new file"]


async def test_a_shallow_clone(workspaces: Workspaces, source: Source, tmp_path: Path) -> None:
    for number in range(5):
        source.commit({"n": str(number)})
    source.git("clone", "--quiet", "--depth=2", f"file://{source.path}", str(tmp_path / "shallow"))
    shallow = Source.__new__(Source)
    shallow.path = tmp_path / "shallow"
    assert shallow.git("rev-list", "--count", "HEAD") == "2"
    assert await round_trip(workspaces, shallow, str(shallow.path)) == source.tip()
    source.commit({"n": "later"})
    shallow.git("pull", "--quiet", "--depth=2")
    again = await workspaces.open(task_id="t2", repo=str(shallow.path), base=None)
    assert (again.path / "n").read_text() == "later"


async def test_a_repository_with_sha256_names(workspaces: Workspaces, make_source: Callable[..., Source]) -> None:
    source = make_source("modern", "--object-format=sha256")
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    (workspace.path / "a").write_text("a")
    checkpoint = await workspace.checkpoint("One")
    assert checkpoint is not None
    assert len(checkpoint) == 64
    (workspace.path / "a").unlink()
    await workspace.checkpoint("Two")
    await workspace.close()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None, checkpoint=checkpoint)
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    assert source.show("a", "ezaigent/t1") == "a"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_a_repository_of_another_user(workspaces: Workspaces, source: Source) -> None:
    for folder, names, files in os.walk(source.path):
        for name in (*names, *files, ""):
            os.chown(Path(folder, name), 12345, 12345, follow_symlinks=False)
    await check_repository(str(source.path))
    await round_trip(workspaces, source, str(source.path))


@pytest.mark.parametrize("kind", ["branch", "full branch", "remote branch", "tag", "annotated tag", "commit", "short"])
async def test_kinds_of_base(workspaces: Workspaces, source: Source, kind: str) -> None:
    source.git("branch", "topic/one")
    source.git("tag", "v1")
    source.git("tag", "--annotate", "--message=x", "v2")
    wanted = source.tip()
    source.commit({"later": "l"})
    base = {
        "branch": "topic/one",
        "full branch": "refs/heads/topic/one",
        "remote branch": "origin/topic/one",
        "tag": "v1",
        "annotated tag": "v2",
        "commit": wanted,
        "short": wanted[:10],
    }[kind]
    assert (await check_repository(str(source.path), base)).commit == wanted
    assert (await workspaces.open(task_id="t1", repo=str(source.path), base=base)).base == wanted


@pytest.mark.parametrize("base", ["mian", "developp", "0123456789abcdef", "", " main", "-x", "main^{/x", "a..b"])
async def test_a_base_that_does_not_exist(workspaces: Workspaces, source: Source, base: str) -> None:
    source.git("branch", "develop")
    for attempt in (
        check_repository(str(source.path), base),
        workspaces.open(task_id="t1", repo=str(source.path), base=base),
    ):
        with pytest.raises(UsageError) as caught:
            await attempt
        assert "\n" not in str(caught.value)
        if base == "mian":
            assert "main" in str(caught.value).partition("it has")[2]
        if base == "developp":
            assert "develop" in str(caught.value).partition("it has")[2]


@pytest.mark.parametrize(
    ("repo", "text"),
    [
        ("", "is empty"),
        ("a\nb", "line break"),
        ("--upload-pack=touch x", "starts with a dash"),
        ("ext::sh -c 'touch x'", "runs a program"),
        ("fd::7", "runs a program"),
        ("ftp://host/x", "scheme 'ftp' is not known"),
        ("ext://sh -c x", "scheme 'ext' is not known"),
        ("https:///x", "names no host"),
        ("ssh://-oProxyCommand=x/y", "names no host"),
        ("https://h/x?token=abc", "query or fragment"),
        ("https://h:port/x", "names no host"),
        ("file://elsewhere/x", "names the machine 'elsewhere'"),
        ("/nowhere/at/all", "there is nothing at"),
        ("/etc/passwd", "is a file, not a repository"),
        ("/etc", "is not a git repository"),
    ],
)
async def test_what_is_no_repository(workspaces: Workspaces, repo: str, text: str) -> None:
    for attempt in (check_repository(repo), workspaces.open(task_id="t1", repo=repo, base=None)):
        with pytest.raises(UsageError, match=text) as caught:
            await attempt
        assert "\n" not in str(caught.value)
        assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    "repo", ["http://127.0.0.1:9/x.git", "ssh://git@127.0.0.1:9/x.git", "git@nowhere.invalid:team/x.git"]
)
async def test_what_cannot_be_reached(workspaces: Workspaces, repo: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be read") as caught:
        await workspaces.open(task_id="t1", repo=repo, base=None)
    assert "\n" not in str(caught.value)


async def test_a_hundred_agents_open_one_repository_at_once(workspaces: Workspaces, source: Source, home: Path) -> None:
    opened = await asyncio.gather(
        *(workspaces.open(task_id=f"t{number}", repo=str(source.path), base=None) for number in range(100))
    )
    assert {workspace.base for workspace in opened} == {source.tip()}
    for number, workspace in enumerate(opened):
        (workspace.path / f"f{number}").write_text(str(number))
    saved = await asyncio.gather(*(workspace.checkpoint("One") for workspace in opened))
    assert len(set(saved)) == 100
    changes = await asyncio.gather(
        *(workspace.commit(message="M", author="a", trailers={}) for workspace in opened[:20])
    )
    published = await asyncio.gather(
        *(workspace.publish(change) for workspace, change in zip(opened, changes, strict=False))
    )
    assert [change.note for change in published] == [""] * 20


async def test_two_processes_share_a_data_folder(
    home: Path, sandbox: Sandbox, source: Source, make_source: Callable[..., Source]
) -> None:
    """Two sets of workspaces on one root behave as two processes do: they share only the disk."""
    spaces = [Workspaces(home, WorkspaceSettings(), sandbox) for _ in range(4)]
    opened = await asyncio.gather(
        *(spaces[number % 4].open(task_id=f"t{number}", repo=str(source.path), base=None) for number in range(12))
    )
    assert len({workspace.path for workspace in opened}) == 12
    assert all((workspace.path / "README.md").exists() for workspace in opened)


async def test_the_mirror_follows_the_source(workspaces: Workspaces, source: Source) -> None:
    source.git("branch", "old")
    await workspaces.open(task_id="t1", repo=str(source.path), base="old")
    source.git("branch", "-D", "old")
    source.git("branch", "old/nested")
    source.git("commit", "--quiet", "--amend", "--message", "Rewritten")
    assert (await workspaces.open(task_id="t2", repo=str(source.path), base=None)).base == source.tip()
    assert (await workspaces.open(task_id="t3", repo=str(source.path), base="old/nested")).base
    with pytest.raises(UsageError):
        await workspaces.open(task_id="t4", repo=str(source.path), base="old")


async def test_a_half_made_mirror_is_made_again(workspaces: Workspaces, source: Source, home: Path) -> None:
    await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    (mirror,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    shutil.rmtree(mirror)
    mirror.with_suffix(".new").mkdir()
    (mirror.with_suffix(".new") / "config").write_text("half")
    assert (await workspaces.open(task_id="t2", repo=str(source.path), base=None)).base == source.tip()


async def test_the_home_folder_is_understood(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    monkeypatch.setenv("HOME", str(source.path.parent))
    assert (await check_repository("~/project")).url == str(source.path)
