"""What a run hands back: one commit on its own branch, the person's repository untouched otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.errors import NotFoundError, RunError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspace, Workspaces

TRAILERS = {"Task": "t1", "Model": "anthropic:claude", "Cost": "$0.42"}


@pytest.fixture
async def workspace(workspaces: Workspaces, source: Source) -> Workspace:
    return await workspaces.open(task_id="t1", repo=str(source.path), base=None)


async def test_a_change_is_one_commit_on_the_base(workspace: Workspace, source: Source) -> None:
    (workspace.path / "src" / "app.py").write_text("x = 2\ny = 3\n")
    await workspace.checkpoint("One")
    (workspace.path / "bin").write_bytes(b"\0\1")
    await workspace.checkpoint("Two")
    change = await workspace.commit(message="Add y\n\nBecause.", author="claude-1", trailers=TRAILERS)
    assert (change.files, change.insertions, change.deletions) == (2, 2, 1)
    assert change.base == source.tip()
    change = await workspace.publish(change)
    assert change.published, change.note
    assert source.tip("ezaigent/t1") == change.commit
    assert source.tip("ezaigent/t1^") == source.tip("main")
    assert (
        source.git("show", "-s", "--format=%an <%ae>", "ezaigent/t1") == "claude-1 <claude-1@agents.ezaigent.invalid>"
    )
    assert source.git("show", "-s", "--format=%B", "ezaigent/t1").rstrip() == (
        "Add y\n\nBecause.\n\nTask: t1\nModel: anthropic:claude\nCost: $0.42"
    )
    assert source.git("show", "-s", "--format=%(trailers:key=Task,valueonly)", "ezaigent/t1").strip() == "t1"


async def test_the_same_tree_gives_the_same_commit_after_a_crash(
    workspace: Workspace, home: Path, sandbox: Sandbox, source: Source
) -> None:
    (workspace.path / "a").write_text("a")
    checkpoint = await workspace.checkpoint("One")
    first = await workspace.commit(message="M", author="claude-1", trailers=TRAILERS)
    await asyncio.sleep(1.1)  # commits carry seconds
    again = await workspace.commit(message="M", author="claude-1", trailers=TRAILERS)
    spaces = Workspaces(home, WorkspaceSettings(), sandbox)
    resumed = await spaces.open(task_id="t1", repo=str(source.path), base=None, checkpoint=checkpoint)
    after = await resumed.commit(message="M", author="claude-1", trailers=TRAILERS)
    assert first == again == after
    (resumed.path / "a").write_text("b")
    assert (await resumed.commit(message="M", author="claude-1", trailers=TRAILERS)).commit != first.commit


async def test_no_change_makes_no_commit(workspace: Workspace, source: Source) -> None:
    (workspace.path / "a").write_text("a")
    await workspace.checkpoint("One")
    (workspace.path / "a").unlink()
    change = await workspace.commit(message="M", author="a", trailers={})
    assert (change.files, change.commit, change.note) == (0, source.tip(), "there was nothing to change")
    assert await workspace.publish(change) == change
    assert source.git("branch", "--list", "ezaigent/*") == ""


async def test_the_persons_dirty_checkout_is_neither_seen_nor_touched(workspaces: Workspaces, source: Source) -> None:
    source.write("stashed", "s")
    source.git("stash", "--include-untracked")
    source.write("src/app.py", "dirty\n")
    source.write("staged", "staged")
    source.git("add", "staged")
    source.write("untracked", "u")
    before = source.state()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert (workspace.path / "src" / "app.py").read_text() == "x = 1\n"
    assert not (workspace.path / "staged").exists()
    (workspace.path / "src" / "app.py").write_text("agent\n")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    assert source.state() == before
    assert source.git("stash", "list").count("\n") == 0


async def test_a_branch_that_a_person_went_on_with_is_not_overwritten(
    workspaces: Workspaces, workspace: Workspace, source: Source
) -> None:
    (workspace.path / "a").write_text("a")
    first = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert first.published
    (workspace.path / "a").write_text("b")
    second = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert second.published, "the fleet's own earlier branch is replaced"
    source.git("checkout", "--quiet", "ezaigent/t1")
    mine = source.commit({"mine": "mine"})
    source.git("checkout", "--quiet", "main")
    (workspace.path / "a").write_text("c")
    third = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert not third.published
    assert "was changed in" in third.note
    assert source.tip("ezaigent/t1") == mine


async def test_a_branch_that_is_checked_out_is_left_alone(workspace: Workspace, source: Source) -> None:
    (workspace.path / "a").write_text("a")
    await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    source.git("checkout", "--quiet", "ezaigent/t1")
    before = source.state()
    (workspace.path / "a").write_text("b")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert not change.published
    assert "is checked out" in change.note
    assert "\n" not in change.note
    assert source.state() == before


async def test_another_machine_may_replace_the_fleets_branch(
    workspace: Workspace, source: Source, tmp_path: Path, sandbox: Sandbox
) -> None:
    (workspace.path / "a").write_text("a")
    assert (await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))).published
    elsewhere = Workspaces(tmp_path / "elsewhere", WorkspaceSettings(), sandbox)
    other = await elsewhere.open(task_id="t1", repo=str(source.path), base=None)
    (other.path / "b").write_text("b")
    change = await other.publish(await other.commit(message="M", author="b", trailers={}))
    assert change.published, change.note


async def test_a_source_that_is_gone_is_a_note(workspace: Workspace, source: Source, tmp_path: Path) -> None:
    (workspace.path / "a").write_text("a")
    change = await workspace.commit(message="M", author="a", trailers={})
    source.path.rename(tmp_path / "moved")
    change = await workspace.publish(change)
    assert not change.published
    assert change.note.startswith("not handed back: ")
    assert "\n" not in change.note


async def test_a_branch_in_the_way_is_a_note(workspace: Workspace, source: Source) -> None:
    source.git("branch", "ezaigent")
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert not change.published
    assert "refused it" in change.note


async def test_the_diff_of_a_change_and_of_unfinished_work(
    workspaces: Workspaces, workspace: Workspace, source: Source
) -> None:
    with pytest.raises(NotFoundError):
        await workspaces.diff("t1", str(source.path), None)
    (workspace.path / "src" / "app.py").write_text("x = 2\n")
    await workspace.checkpoint("One")
    assert "+x = 2" in await workspaces.diff("t1", str(source.path), None)
    change = await workspace.commit(message="M", author="a", trailers={})
    (workspace.path / "src" / "app.py").write_text("x = 3\n")
    shown = await workspaces.diff("t1", str(source.path), change)
    assert "-x = 1\n+x = 2" in shown
    assert "x = 3" not in shown


async def test_files_outside_the_scope(workspace: Workspace) -> None:
    (workspace.path / "src" / "app.py").write_text("x = 2\n")
    (workspace.path / "README.md").unlink()
    (workspace.path / "grüße").write_text("g")
    assert await workspace.violations([]) == []
    assert sorted(await workspace.violations(["src/**"])) == ["README.md", "grüße"]
    assert await workspace.violations(["src", "*.md", "gr*"]) == []


async def test_an_odd_author_still_gives_a_commit(workspace: Workspace, source: Source) -> None:
    (workspace.path / "a").write_text("a")
    change = await workspace.commit(message="\n", author="Evil <x@y>\nauthor z", trailers={"A": "b\n\nc: d"})
    assert (await workspace.publish(change)).published
    assert source.git("show", "-s", "--format=%an|%ae|%B", change.commit).rstrip() == (
        "Evil x@y author z|evil-x-y-author-z@agents.ezaigent.invalid|Change\n\nA: b c: d"
    )


async def test_parents_are_merged_onto_the_base(workspaces: Workspaces, workspace: Workspace, source: Source) -> None:
    (workspace.path / "one").write_text("1")
    one = await workspace.commit(message="One", author="a", trailers={})
    second = await workspaces.open(task_id="t2", repo=str(source.path), base=None)
    (second.path / "two").write_text("2")
    two = await second.commit(message="Two", author="b", trailers={})
    alone = await workspaces.open(task_id="t3", repo=str(source.path), base=None, parents=[one.commit])
    assert alone.base == one.commit, "a change on the same base is simply continued"
    both = await workspaces.open(task_id="t4", repo=str(source.path), base=None, parents=[one.commit, two.commit])
    assert {"one", "two"} <= {path.name for path in both.path.iterdir()}
    again = await workspaces.open(task_id="t5", repo=str(source.path), base=None, parents=[one.commit, two.commit])
    assert again.base == both.base
    (both.path / "three").write_text("3")
    change = await both.publish(await both.commit(message="Three", author="c", trailers={}))
    assert change.files == 1
    assert {"one", "two", "three"} <= set(source.tree("ezaigent/t4"))


async def test_parents_that_contradict_each_other_are_named(workspaces: Workspaces, source: Source) -> None:
    commits: list[str] = []
    for task_id in ("first", "second"):
        workspace = await workspaces.open(task_id=task_id, repo=str(source.path), base=None)
        (workspace.path / "src" / "app.py").write_text(f"x = '{task_id}'\n")
        commits.append((await workspace.commit(message="M", author="a", trailers={})).commit)
    with pytest.raises(RunError) as caught:
        await workspaces.open(task_id="third", repo=str(source.path), base=None, parents=commits)
    assert not caught.value.retryable
    text = str(caught.value)
    assert "ezaigent/first" in text
    assert "ezaigent/second" in text
    assert "src/app.py" in text
    assert "\n" not in text


async def test_a_parent_that_is_nowhere_may_come_later(workspaces: Workspaces, source: Source) -> None:
    with pytest.raises(RunError, match="is not on this machine") as caught:
        await workspaces.open(task_id="t", repo=str(source.path), base=None, parents=["1" * 40])
    assert caught.value.retryable
