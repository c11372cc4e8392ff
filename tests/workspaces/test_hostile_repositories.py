"""Nothing that a repository brings along ever runs on the host: a canary would show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.workspaces.conftest import Canary, Source

from ezaigent.core.errors import EzAigentError, UsageError
from ezaigent.workspaces import Workspaces, check_repository

HOOKS = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "pre-receive",
    "prepare-commit-msg",
    "proc-receive",
    "push-to-checkout",
    "reference-transaction",
    "sendemail-validate",
    "update",
]


def plant(git_folder: Path, canary: Canary, program: Path, hooks: Path) -> None:
    """Fill a repository's configuration with everything that can name a program."""
    for hook in HOOKS:
        canary.script(hooks / hook)
        canary.script(git_folder / "hooks" / hook)
    settings = f"""
[core]
	hooksPath = {hooks}
	fsmonitor = {program}
	sshCommand = {program}
	gitProxy = {program}
	askPass = {program}
	editor = {program}
	pager = {program}
	alternateRefsCommand = {program}
	attributesFile = {git_folder}/attributes
[credential]
	helper = {program}
[diff]
	external = {program}
[diff "evil"]
	command = {program}
	textconv = {program}
[filter "evil"]
	clean = {program}
	smudge = {program}
	process = {program}
	required = true
[merge "evil"]
	driver = {program} %A
[gpg]
	program = {program}
[commit]
	gpgSign = true
[push]
	gpgSign = if-asked
[receive]
	autogc = true
[gc]
	auto = 1
[uploadpack]
	packObjectsHook = {program}
[protocol "ext"]
	allow = always
[remote "origin"]
	url = ext::{program}
	uploadpack = {program}
	receivepack = {program}
	promisor = true
	partialclonefilter = blob:none
[url "ext::{program} "]
	insteadOf = /
	pushInsteadOf = /
[include]
	path = {git_folder}/more
[alias]
	rev-parse = !{program}
[submodule]
	recurse = true
[receive]
	denyCurrentBranch = updateInstead
[pager]
	show = {program}
	diff = {program}
[interactive]
	diffFilter = {program}
[sequence]
	editor = {program}
"""
    with (git_folder / "config").open("a") as config:
        config.write(settings)
    (git_folder / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    (git_folder / "info").mkdir(exist_ok=True)
    (git_folder / "info" / "attributes").write_text("* filter=evil diff=evil merge=evil\n")
    (git_folder / "attributes").write_text("* filter=evil diff=evil merge=evil\n")


@pytest.fixture
def hostile(make_source: Callable[..., Source], canary: Canary, tmp_path: Path) -> Source:
    """A repository with a trap in every place that git looks at."""
    source = make_source(
        "hostile",
        files={
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            "README.md": "r\n",
            "src/app.py": "x = 'hostile'\n",
            ".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = file:///etc\n\tupdate = !touch canary\n',
        },
    )
    source.git("update-index", "--add", "--cacheinfo", f"160000,{source.tip()},s")
    source.git("commit", "--quiet", "--message", "Submodule")
    other = make_source("alternate")
    (source.path / ".git" / "objects" / "info" / "alternates").write_text(f"{other.path}/.git/objects\n")
    program = canary.script(tmp_path / "evil.sh")
    plant(source.path / ".git", canary, program, tmp_path / "evil hooks")
    return source


def plain(source: Source, ref: str, name: str) -> str:
    """Read from the repository without its configuration, as a careful person would."""
    objects = source.path / ".git" / "objects"
    found = Source(source.path.parent / "reader")
    (found.path / ".git" / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    commit = (source.path / ".git" / "refs" / "heads" / ref).read_text().strip()
    return found.git("show", f"{commit}:{name}")


async def test_the_whole_way_of_a_task_runs_nothing_of_the_source(
    workspaces: Workspaces, hostile: Source, canary: Canary
) -> None:
    await check_repository(str(hostile.path))
    await check_repository(str(hostile.path), "main")
    workspace = await workspaces.open(task_id="t1", repo=str(hostile.path), base="main")
    (workspace.path / "src" / "app.py").write_text("x = 2\n")
    checkpoint = await workspace.checkpoint("One")
    assert await workspace.violations(["src/**"]) == []
    await workspace.check(["git status", "git diff"])
    change = await workspace.commit(message="M", author="a", trailers={})
    change = await workspace.publish(change)
    assert change.published, change.note
    assert "+x = 2" in await workspaces.diff("t1", str(hostile.path), change)
    await workspace.close()
    again = await workspaces.open(task_id="t1", repo=str(hostile.path), base="main", checkpoint=checkpoint)
    second = await workspaces.open(task_id="t2", repo=str(hostile.path), base="main", parents=[change.commit])
    (second.path / "README.md").write_text("changed\n")
    other = await second.publish(await second.commit(message="M", author="a", trailers={}))
    for workspace in (again, second):
        await workspace.close()
    branches = hostile.path / ".git" / "refs" / "heads"
    (branches / "stable").write_text((branches / "main").read_text())
    await workspaces.merge("t2", str(hostile.path), "stable", other, ["true"])
    await workspaces.clean({"t1": 0.0, "t2": 0.0})
    assert not canary.sang
    assert plain(hostile, "ezaigent/t1", "src/app.py") == "x = 2"
    assert (branches / "stable").read_text().strip() == other.commit


async def test_a_source_that_asks_for_its_own_receiver_gets_nothing(
    workspaces: Workspaces, hostile: Source, canary: Canary
) -> None:
    workspace = await workspaces.open(task_id="t1", repo=str(hostile.path), base="main")
    with (hostile.path / ".git" / "config").open("a") as config:
        config.write("[receive]\n\tprocReceiveRefs = refs\n")
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert not change.published
    assert "refused it" in change.note
    assert not canary.sang


async def test_a_missing_object_is_not_fetched_by_a_program_of_the_source(
    workspaces: Workspaces, hostile: Source, canary: Canary
) -> None:
    """A partial clone names the command that fetches what it lacks; git would run it while serving us."""
    blob = hostile.git("rev-parse", "main:src/app.py")
    (hostile.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(EzAigentError):
        await workspaces.open(task_id="t1", repo=str(hostile.path), base="main")
    with pytest.raises(EzAigentError):
        await check_repository(str(hostile.path), "0123456789" * 4)
    assert not canary.sang


async def test_an_agent_cannot_plant_anything_in_its_tree_that_the_host_runs(
    workspaces: Workspaces, source: Source, canary: Canary, tmp_path: Path
) -> None:
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    program = canary.script(tmp_path / "evil.sh")
    (workspace.path / ".git").unlink()
    for folder in (workspace.path, workspace.path / "nested", workspace.path / "nested" / "deep"):
        planted = Source(folder)
        planted.commit({"f": "f", ".gitattributes": "* filter=evil diff=evil\n"})
        plant(folder / ".git", canary, program, tmp_path / "evil hooks")
    (workspace.path / "nested" / "f").write_text("changed")
    (workspace.path / ".gitmodules").symlink_to("/etc/passwd")
    (workspace.path / ".gitignore").symlink_to("/etc/passwd")
    checkpoint = await workspace.checkpoint("One")
    (workspace.path / "nested" / "f").write_text("again")
    await workspace.checkpoint("Two")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    await workspaces.diff("t1", str(source.path), change)
    await workspace.close()
    again = await workspaces.open(task_id="t1", repo=str(source.path), base=None, checkpoint=checkpoint)
    assert (again.path / "nested" / "f").read_text() == "changed"
    await again.close()
    await workspaces.clean({"t1": 0.0})
    assert not canary.sang


async def test_names_that_git_would_not_take_back_are_left_out(workspaces: Workspaces, source: Source) -> None:
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    for name in (".GIT", "src/.Git"):
        (workspace.path / name).mkdir()
        (workspace.path / name / "config").write_text("evil")
    (workspace.path / "src" / ".gitmodules").symlink_to("/etc/passwd")
    (workspace.path / "a").write_text("a")
    checkpoint = await workspace.checkpoint("One")
    assert await workspace.checkpoint("Nothing") is None
    await workspace.close()
    await workspaces.open(task_id="t1", repo=str(source.path), base=None, checkpoint=checkpoint)


@pytest.mark.parametrize("name", [".git", ".GIT", ".."])
async def test_a_repository_with_forbidden_names_is_refused(workspaces: Workspaces, tmp_path: Path, name: str) -> None:
    source = Source(tmp_path / "crafted")
    blob = source.git("hash-object", "-w", "--stdin", data=b"[core]\n\tfsmonitor = evil\n")
    inner = source.git("mktree", data=f"100644 blob {blob}\tconfig\n".encode())
    outer = source.git("mktree", data=f"040000 tree {inner}\t{name}\n".encode())
    commit = source.git("commit-tree", "-m", "Crafted", outer)
    source.git("update-ref", "refs/heads/main", commit)
    with pytest.raises(UsageError, match=f"{name}/config") as caught:
        await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "home" / "config").exists()
    assert not (tmp_path / "home" / "trees" / "config").exists()


async def test_an_agents_own_git_in_its_tree_runs_only_in_the_sandbox(
    workspaces: Workspaces, source: Source, canary: Canary
) -> None:
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    result = await workspace.run(
        f'rm .git && git init -q && git config core.fsmonitor "{canary.command}" && git add -A; git status; git log'
    )
    await workspace.checkpoint("One")
    assert not canary.sang, result.output


async def test_links_out_of_the_tree_are_kept_as_links(
    workspaces: Workspaces, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("s3cret")
    source = make_source("links")
    (source.path / "out").symlink_to(secret)
    (source.path / "file").symlink_to(secret / "key")
    source.commit()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert (workspace.path / "out").readlink() == secret
    assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "deep").symlink_to(secret, target_is_directory=True)
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published
    assert "s3cret" not in await workspaces.diff("t1", str(source.path), change)
    assert (secret / "key").read_text() == "s3cret"


async def test_restoring_writes_nothing_through_a_link(workspaces: Workspaces, source: Source, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("mine")
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    (workspace.path / "src" / "app.py").unlink()
    (workspace.path / "src").rmdir()
    (workspace.path / "src").symlink_to(outside)
    await workspace.close()
    again = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert (again.path / "src" / "app.py").read_text() == "x = 1\n"
    assert (outside / "app.py").read_text() == "mine"
    assert sorted(path.name for path in outside.iterdir()) == ["app.py"]


async def test_git_variables_of_the_caller_do_not_count(
    workspaces: Workspaces, source: Source, canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = str(canary.script(tmp_path / "evil.sh"))
    evil = tmp_path / "evilconfig"
    evil.write_text(f'[core]\n\tfsmonitor = {program}\n[url "/nowhere"]\n\tinsteadOf = {source.path}\n')
    for name, value in {
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_INDEX_FILE": "/nowhere/index",
        "GIT_OBJECT_DIRECTORY": "/nowhere/objects",
        "GIT_CONFIG_GLOBAL": str(evil),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": program,
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{program}'",
        "GIT_EXTERNAL_DIFF": program,
        "GIT_EDITOR": program,
        "GIT_PAGER": program,
        "GIT_ASKPASS": program,
        "GIT_SSH_COMMAND": program,
        "GIT_PROXY_COMMAND": program,
        "GIT_EXEC_PATH": "/nowhere",
        "GIT_TEMPLATE_DIR": str(tmp_path),
        "GIT_TRACE": "1",
        "GIT_NAMESPACE": "evil",
        "PAGER": program,
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".gitconfig").write_text(evil.read_text())
    await check_repository(str(source.path), "main")
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base="main")
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    assert not canary.sang
