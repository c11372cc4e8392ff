"""Disk use is shown and bounded; cleaning goes by age and count and never removes the only copy of anything."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.errors import UnavailableError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspaces

DAY = 86400.0


def refs(home: Path) -> dict[str, str]:
    (mirror,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    shown = subprocess.run(
        [
            "git",
            f"--git-dir={mirror}",
            "for-each-ref",
            "--format=%(refname) %(objectname)",
            "refs/ezaigent",
            "refs/heads",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split(" ") for line in shown.splitlines())


def show(home: Path, name: str) -> str:
    (mirror,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    return subprocess.run(
        ["git", f"--git-dir={mirror}", "show", name], capture_output=True, text=True, check=True
    ).stdout


async def worked(
    spaces: Workspaces, source: Source, task_id: str, *, unsaved: bool = False, publish: bool = True
) -> Path:
    workspace = await spaces.open(task_id=task_id, repo=str(source.path), base=None)
    (workspace.path / task_id).write_text(task_id)
    change = await workspace.commit(message="M", author="a", trailers={})
    if publish:
        await workspace.publish(change)
    if unsaved:
        (workspace.path / "unsaved").write_text(f"only in {task_id}")
    await workspace.close()
    return workspace.path


async def test_old_trees_go_and_young_ones_stay(workspaces: Workspaces, source: Source, home: Path) -> None:
    old, young, running = [await worked(workspaces, source, task_id) for task_id in ("old", "young", "running")]
    now = time.time()
    cleaned = await workspaces.clean({"old": now - 8 * DAY, "young": now - 6 * DAY})
    assert cleaned.worktrees == 1
    assert (old.exists(), young.exists(), running.exists()) == (False, True, True)
    assert not [
        ref for ref in refs(home) if ref.endswith("/old") and "ezaigent/" in ref and not ref.startswith("refs/heads")
    ]
    assert [ref for ref in refs(home) if ref.endswith("/young")]
    assert (await workspaces.open(task_id="running", repo=str(source.path), base=None)).path.exists()


async def test_only_the_newest_are_kept_by_count(home: Path, sandbox: Sandbox, source: Source) -> None:
    spaces = Workspaces(home, WorkspaceSettings(keep_count=2), sandbox)
    trees = [await worked(spaces, source, f"t{number}") for number in range(4)]
    now = time.time()
    cleaned = await spaces.clean({f"t{number}": now - 10 + number for number in range(4)})
    assert cleaned.worktrees == 2
    assert [tree.exists() for tree in trees] == [False, False, True, True]
    assert "refs/ezaigent/checkpoints/t0" in refs(home), "the refs of young tasks stay, so that work can go on"
    resumed = await spaces.open(
        task_id="t0", repo=str(source.path), base=None, checkpoint=refs(home)["refs/ezaigent/checkpoints/t0"]
    )
    assert (resumed.path / "t0").read_text() == "t0"


async def test_unsaved_work_is_saved_before_its_tree_goes(workspaces: Workspaces, source: Source, home: Path) -> None:
    tree = await worked(workspaces, source, "t1", unsaved=True)
    cleaned = await workspaces.clean({"t1": 0.0})
    assert not tree.exists()
    assert cleaned.salvaged == ("refs/ezaigent/salvage/t1/1",)
    assert show(home, "refs/ezaigent/salvage/t1/1:unsaved") == "only in t1"
    again = await workspaces.clean({"t1": 0.0})
    assert again.refs == 0, "what was just saved is kept for the full age"
    assert "refs/ezaigent/salvage/t1/1" in refs(home)


async def test_an_unpublished_branch_is_the_only_copy_and_stays(
    workspaces: Workspaces, source: Source, home: Path
) -> None:
    await worked(workspaces, source, "here", publish=False)
    await worked(workspaces, source, "there")
    await workspaces.open(task_id="looks", repo=str(source.path), base=None)
    await workspaces.clean({"here": 0.0, "there": 0.0})
    branches = [ref for ref in refs(home) if ref.startswith("refs/heads/")]
    assert "refs/heads/ezaigent/here" in branches
    assert "refs/heads/ezaigent/there" not in branches


async def test_a_tree_in_use_stays_whatever_the_store_says(workspaces: Workspaces, source: Source) -> None:
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    (workspace.path / "a").write_text("a")
    assert (await workspaces.clean({"t1": 0.0})).worktrees == 0
    assert await workspace.checkpoint("One") is not None


async def test_a_tree_that_lost_its_permissions_is_removed(workspaces: Workspaces, source: Source) -> None:
    tree = await worked(workspaces, source, "t1")
    (tree / "closed" / "in").mkdir(parents=True)
    (tree / "closed" / "in" / "x").write_text("x")
    (tree / "closed" / "in").chmod(0)
    (tree / "closed").chmod(0)
    assert (await workspaces.clean({"t1": 0.0})).worktrees == 1
    assert not tree.exists()


async def test_cleaning_an_empty_data_folder(workspaces: Workspaces) -> None:
    cleaned = await workspaces.clean({"t1": 0.0})
    assert (cleaned.worktrees, cleaned.refs, cleaned.salvaged) == (0, 0, ())


async def test_disk_use_is_counted_by_kind(workspaces: Workspaces, source: Source) -> None:
    assert (await workspaces.disk_use()).total == 0
    source.commit({"big": bytes(range(256)) * 4096})
    await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    use = await workspaces.disk_use()
    assert use.trees > 1024**2
    assert use.mirrors > 0
    assert use.total == use.mirrors + use.trees
    assert use.free > 0


async def test_above_the_bound_no_new_tree_is_made_but_old_ones_go_on(
    home: Path, sandbox: Sandbox, source: Source, workspaces: Workspaces
) -> None:
    path = await worked(workspaces, source, "old")
    small = Workspaces(home, WorkspaceSettings(max_disk=1024), sandbox)
    with pytest.raises(UnavailableError, match=r"take .* MiB of at most 0\.0 MiB: .*workspaces\.max_disk") as caught:
        await small.open(task_id="new", repo=str(source.path), base=None)
    assert "\n" not in str(caught.value)
    assert (await small.open(task_id="old", repo=str(source.path), base=None, resumed=True)).path == path


def fill(mirror: Path, folder: Path, count: int) -> None:
    """Let a mirror grow by ``count`` files, each a loose object, as many small checkpoints would."""
    names = [folder / "grown" / f"f{number}" for number in range(count)]
    names[0].parent.mkdir()
    for number, name in enumerate(names):
        name.write_text(f"grown {number}")

    def git(*words: str, data: str) -> str:
        flags = ("-c", "core.fsync=none", "-c", "user.name=t", "-c", "user.email=t@example.invalid")
        return subprocess.run(
            ["git", *flags, *words], cwd=mirror, input=data, capture_output=True, text=True, check=True
        ).stdout.strip()

    blobs = git("hash-object", "-w", "--stdin-paths", data="".join(f"{name}\n" for name in names)).split()
    rows = [f"100644 blob {blob}\t{name.name}\n" for blob, name in zip(blobs, names, strict=True)]
    commit = git("commit-tree", git("mktree", data="".join(rows)), data="Grown")
    git("update-ref", "refs/kept/grown", commit, data="")


async def test_many_loose_objects_are_packed(
    workspaces: Workspaces, source: Source, home: Path, tmp_path: Path
) -> None:
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    for number in range(75):
        (workspace.path / f"f{number}").write_text(f"first {number}")
    await workspace.checkpoint("Step")
    (mirror,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    fill(mirror, tmp_path, 4200)
    assert len(list((mirror / "objects").glob("??/*"))) > 4200
    checkpoint = refs(home)["refs/ezaigent/checkpoints/t1"]
    await workspaces.clean({})
    assert len(list((mirror / "objects").glob("??/*"))) < 200
    assert show(home, f"{checkpoint}:f7") == "first 7"
    assert show(home, "refs/kept/grown:f7") == "grown 7"
    (workspace.path / "after").write_text("after")
    assert await workspace.checkpoint("After") is not None
    assert (await workspace.run("git status --short | wc -l")).output.strip() == "76"
