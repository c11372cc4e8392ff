"""Checks run on one exact tree, leave it as it was, and cannot pass on another one."""

from __future__ import annotations

import pytest
from tests.workspaces.conftest import Source

from ezaigent.workspaces import Workspace, Workspaces


@pytest.fixture
async def workspace(workspaces: Workspaces, source: Source) -> Workspace:
    return await workspaces.open(task_id="t1", repo=str(source.path), base=None)


async def test_results_are_tied_to_the_tree(workspace: Workspace) -> None:
    (workspace.path / "a").write_text("a")
    good, bad = await workspace.check(["grep -q a a", "echo no >&2; exit 3"])
    assert (good.ok, good.exit_code, good.command) == (True, 0, "grep -q a a")
    assert (bad.ok, bad.exit_code, bad.output) == (False, 3, "no\n")
    change = await workspace.commit(message="M", author="a", trailers={})
    assert good.tree == bad.tree == change.tree
    assert change.with_checks((good,)).ok
    (workspace.path / "a").write_text("b")
    assert not (await workspace.commit(message="M", author="a", trailers={})).with_checks((good,)).ok


async def test_a_check_that_changes_files_fails_and_is_undone(workspace: Workspace) -> None:
    (workspace.path / "new.py").write_text("import os\n")
    mends, after = await workspace.check(
        [
            "echo 'x = 9' > src/app.py; rm README.md; echo > new.py; rm -r src/../none 2>/dev/null; true",
            "cat src/app.py new.py",
        ]
    )
    assert not mends.ok
    assert mends.exit_code == 0
    assert "changed files of the repository (README.md, new.py, src/app.py)" in mends.output
    assert (after.ok, after.output) == (True, "x = 1\nimport os\n")
    assert (workspace.path / "README.md").read_text() == "# Project\n"
    assert await workspace.checkpoint("Nothing") is None


async def test_files_that_checks_add_live_until_the_last_one(workspace: Workspace) -> None:
    results = await workspace.check(["mkdir -p out/deep && echo built > out/deep/b", "cat out/deep/b"])
    assert [result.ok for result in results] == [True, True]
    assert not (workspace.path / "out").exists()
    assert await workspace.checkpoint("Nothing") is None


async def test_a_check_that_swaps_a_folder_for_a_link_harms_nothing_outside(
    workspace: Workspace, tmp_path: object
) -> None:
    (result,) = await workspace.check(["rm -r src && ln -s /etc src"])
    assert not result.ok
    assert (workspace.path / "src").is_dir()
    assert not (workspace.path / "src").is_symlink()
    assert (workspace.path / "src" / "app.py").read_text() == "x = 1\n"


async def test_only_the_end_of_a_long_output_is_kept(workspace: Workspace) -> None:
    (result,) = await workspace.check(["i=0; while [ $i -lt 5000 ]; do echo line-$i-ü; i=$((i+1)); done"])
    assert len(result.output.encode()) <= 16 * 1024
    assert result.output.endswith("line-4999-ü\n")


async def test_no_checks_are_no_results(workspace: Workspace) -> None:
    assert await workspace.check([]) == ()


async def test_git_can_be_read_but_not_written_inside(workspace: Workspace, source: Source) -> None:
    (workspace.path / "src" / "app.py").write_text("x = 2\n")
    shown = await workspace.run("git status --porcelain && git diff && git log --oneline && git blame README.md")
    assert shown.exit_code == 0, shown.output
    assert " M src/app.py" in shown.output
    assert "+x = 2" in shown.output
    for write in (
        "git commit -qam x",
        "git config core.fsmonitor evil",
        "git update-ref refs/heads/main HEAD~0",
        'echo x > "$(git rev-parse --git-common-dir)/hooks"',
        'echo "* filter=x" > "$(git rev-parse --git-common-dir)/info/attributes"',
    ):
        assert (await workspace.run(write)).exit_code != 0, write
    assert (
        await workspace.run(
            "cd /tmp && git init -q x && cd x && git -c user.name=a -c user.email=b commit -q --allow-empty -m m"
        )
    ).exit_code == 0
