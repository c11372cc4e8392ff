"""Merging publishes only a tree whose exact hash passed the checks, and never under somebody's feet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.change import Change
from ezaigent.core.errors import ConflictError, RunError, UnavailableError, UsageError
from ezaigent.workspaces import Workspaces


@pytest.fixture
def bare(source: Source, tmp_path: Path) -> Source:
    """A shared bare repository, as on a server."""
    path = tmp_path / "shared.git"
    source.git("clone", "--quiet", "--bare", str(source.path), str(path))
    source.git("remote", "add", "origin", str(path))
    shared = Source.__new__(Source)
    shared.path = path
    return shared


async def a_change(
    workspaces: Workspaces, repo: Source, files: dict[str, str], *, task_id: str = "t1", checks: tuple[str, ...] = ()
) -> Change:
    workspace = await workspaces.open(task_id=task_id, repo=str(repo.path), base="main")
    for name, text in files.items():
        (workspace.path / name).write_text(text)
    results = await workspace.check(checks)
    change = await workspace.commit(message="Change", author="claude-1", trailers={})
    await workspace.close()
    return await workspace.publish(change.with_checks(results))


def advance(source: Source, files: dict[str, str | bytes]) -> str:
    commit = source.commit(files)
    source.git("push", "--quiet", "origin", "main")
    return commit


async def test_a_change_on_the_tip_moves_the_branch_forward(workspaces: Workspaces, bare: Source) -> None:
    change = await a_change(workspaces, bare, {"a": "a"})
    assert await workspaces.merge("t1", str(bare.path), "main", change, []) == change.commit
    assert bare.tip("main") == change.commit
    assert await workspaces.merge("t1", str(bare.path), "main", change, []) == change.commit, "merged already"


async def test_a_branch_that_moved_on_gets_a_merge_whose_tree_is_checked(
    workspaces: Workspaces, bare: Source, source: Source, home: Path
) -> None:
    change = await a_change(workspaces, bare, {"a": "a"})
    other = advance(source, {"b": "b"})
    merged = await workspaces.merge("t1", str(bare.path), None, change, ["test -e a && test -e b", "git log -1"])
    assert bare.tip("main") == merged
    assert bare.git("show", "-s", "--format=%P %s", merged) == f"{other} {change.commit} Merge ezaigent/t1 into main"
    assert not [path for path in (home / "trees").iterdir() if path.name.startswith("merge-")]
    assert not [path for path in (home / "attached").iterdir() if path.name.startswith("merge-") and path.is_dir()]


async def test_a_failing_check_on_the_merged_tree_stops_it(
    workspaces: Workspaces, bare: Source, source: Source
) -> None:
    change = await a_change(workspaces, bare, {"a": "a"}, checks=("test ! -e b",))
    assert change.ok
    other = advance(source, {"b": "b"})
    with pytest.raises(RunError, match=r"'test ! -e b' fails \(exit 1\) on the merge with main"):
        await workspaces.merge("t1", str(bare.path), "main", change, ["test ! -e b"])
    assert bare.tip("main") == other


async def test_checks_that_passed_on_this_very_tree_are_not_run_again(workspaces: Workspaces, bare: Source) -> None:
    once = 'test ! -e "$PWD/../never" && date +%N | grep -q .'
    change = await a_change(workspaces, bare, {"a": "a"}, checks=(once,))
    unproved = change.model_copy(update={"checks": ()})
    with pytest.raises(RunError):
        await workspaces.merge("t1", str(bare.path), "main", unproved, ["false"])
    assert await workspaces.merge("t1", str(bare.path), "main", change, [once]) == change.commit


async def test_a_conflict_names_branch_and_files(workspaces: Workspaces, bare: Source, source: Source) -> None:
    change = await a_change(workspaces, bare, {"README.md": "agent\n"})
    other = advance(source, {"README.md": "person\n"})
    with pytest.raises(ConflictError, match=r"ezaigent/t1 conflicts with main in README.md: ") as caught:
        await workspaces.merge("t1", str(bare.path), "main", change, [])
    assert "\n" not in str(caught.value)
    assert bare.tip("main") == other


async def test_a_checked_out_branch_is_refused_with_the_command_to_run(workspaces: Workspaces, source: Source) -> None:
    change = await a_change(workspaces, source, {"a": "a"})
    before = source.state()
    with pytest.raises(ConflictError) as caught:
        await workspaces.merge("t1", str(source.path), "main", change, [])
    assert f"`git -C {source.path} merge ezaigent/t1`" in str(caught.value)
    assert source.state() == before
    source.git("merge", "--quiet", "ezaigent/t1")
    assert await workspaces.merge("t1", str(source.path), "main", change, []) == change.commit


async def test_a_branch_checked_out_in_another_worktree_is_refused_too(
    workspaces: Workspaces, source: Source, tmp_path: Path
) -> None:
    source.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side tree"))
    change = await a_change(workspaces, source, {"a": "a"})
    with pytest.raises(ConflictError, match="side tree"):
        await workspaces.merge("t1", str(source.path), "side", change, [])


async def test_another_branch_of_a_persons_repository_can_be_merged_onto(
    workspaces: Workspaces, source: Source
) -> None:
    source.git("branch", "stable")
    before = (source.path / ".git" / "index").read_bytes()
    change = await a_change(workspaces, source, {"a": "a"})
    assert await workspaces.merge("t1", str(source.path), "stable", change, []) == change.commit
    assert source.tip("stable") == change.commit
    assert source.tip("main") != change.commit
    assert (source.path / ".git" / "index").read_bytes() == before


async def test_a_push_meanwhile_is_merged_with_and_not_lost(
    workspaces: Workspaces, bare: Source, source: Source, tmp_path: Path
) -> None:
    """While the checks run somebody pushes: the merge is made anew on top of that."""
    change = await a_change(workspaces, bare, {"a": "a"})
    advance(source, {"b": "b"})
    late = source.commit({"c": "c"})
    source.git("push", "--quiet", "origin", "main:refs/heads/waiting")
    pushed: list[str] = []

    class Pushing:
        """The real sandbox; the first check is slow enough for a push by somebody else."""

        def __init__(self, inner: object) -> None:
            self._inner = inner

        level = "bubblewrap"
        description = ""

        async def run(self, command: str, **more: object) -> object:
            if not pushed:
                source.git("push", "--quiet", "origin", "main")
                pushed.append(late)
            return await self._inner.run(command, **more)  # type: ignore[attr-defined]

    workspaces._sandbox = Pushing(workspaces._sandbox)  # type: ignore[assignment]
    merged = await workspaces.merge("t1", str(bare.path), "main", change, ["test -e a"])
    assert pushed
    assert bare.tip("main") == merged
    assert {"a", "b", "c"} <= set(bare.tree("main"))


async def test_a_tag_or_commit_is_no_branch_to_merge_onto(workspaces: Workspaces, bare: Source, source: Source) -> None:
    source.git("tag", "v1")
    source.git("push", "--quiet", "origin", "v1")
    change = await a_change(workspaces, bare, {"a": "a"})
    with pytest.raises(UsageError, match="'v1' is not a branch"):
        await workspaces.merge("t1", str(bare.path), "v1", change, [])


async def test_a_change_that_is_nowhere_is_refused(workspaces: Workspaces, bare: Source) -> None:
    change = Change(branch="ezaigent/t", commit="1" * 40, tree="2" * 40, base="3" * 40)
    with pytest.raises(UnavailableError, match="is not on this machine"):
        await workspaces.merge("t", str(bare.path), "main", change, [])


async def test_the_first_change_of_an_empty_repository_becomes_its_branch(
    workspaces: Workspaces, tmp_path: Path, make_source: Callable[..., Source]
) -> None:
    shared = Source(tmp_path / "fresh.git", "--bare")
    workspace = await workspaces.open(task_id="t1", repo=str(shared.path), base=None)
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="First", author="a", trailers={}))
    assert change.published, change.note
    assert await workspaces.merge("t1", str(shared.path), None, change, []) == change.commit
    assert shared.tip("main") == change.commit
