"""A checkpoint holds every byte of the tree, whatever an agent does to it, and costs little when nothing changed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.workspaces.conftest import Source

from ezaigent.workspaces import Workspace, Workspaces


def mirror_of(home: Path) -> Path:
    (mirror,) = [path for path in (home / "mirrors").iterdir() if path.is_dir()]
    return mirror


def git(home: Path, *words: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(["git", f"--git-dir={mirror_of(home)}", *words], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def saved(home: Path, commit: str) -> dict[bytes, tuple[str, bytes]]:
    """Mode and content of everything in a commit."""
    found: dict[bytes, tuple[str, bytes]] = {}
    for entry in filter(None, git(home, "ls-tree", "-r", "-z", commit).split(b"\0")):
        head, name = entry.split(b"\t", 1)
        mode, kind, blob = head.decode().split()
        found[name] = (mode, git(home, "cat-file", "blob", blob) if kind == "blob" else b"")
    return found


async def checkpointed(workspace: Workspace, label: str = "Step") -> str:
    commit = await workspace.checkpoint(label)
    assert commit is not None
    return commit


@pytest.fixture
async def workspace(workspaces: Workspaces, source: Source) -> Workspace:
    return await workspaces.open(task_id="t1", repo=str(source.path), base=None)


async def test_saves_new_changed_and_removed_files(workspace: Workspace, home: Path) -> None:
    (workspace.path / "src" / "app.py").write_text("x = 2\n")
    (workspace.path / "README.md").unlink()
    (workspace.path / "new").mkdir()
    (workspace.path / "new" / "run.sh").write_text("#!/bin/sh\n")
    (workspace.path / "new" / "run.sh").chmod(0o755)
    (workspace.path / "link").symlink_to("/etc/passwd")
    commit = await checkpointed(workspace, "Edit things")
    assert saved(home, commit) == {
        b"src/app.py": ("100644", b"x = 2\n"),
        b"new/run.sh": ("100755", b"#!/bin/sh\n"),
        b"link": ("120000", b"/etc/passwd"),
    }
    assert git(home, "rev-parse", "refs/ezaigent/checkpoints/t1").decode().strip() == commit
    assert git(home, "log", "-1", "--format=%s", commit).decode().strip() == "Edit things"


async def test_each_checkpoint_is_the_child_of_the_one_before(workspace: Workspace, home: Path) -> None:
    commits = [workspace.base]
    for number in range(3):
        (workspace.path / "n").write_text(str(number))
        commits.append(await checkpointed(workspace))
    shown = git(home, "rev-list", "--first-parent", commits[-1]).decode().split()
    assert shown[:4] == commits[::-1]


async def test_no_change_makes_no_checkpoint(workspace: Workspace) -> None:
    assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "src" / "app.py").touch()
    assert await workspace.checkpoint("Touched only") is None
    (workspace.path / "a").write_text("a")
    assert await workspace.checkpoint("Something") is not None
    assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "a").write_text("b")
    os.utime(workspace.path / "a", ns=(1, 1))
    assert await workspace.checkpoint("Same size, made to look old") is not None


async def test_a_change_is_seen_after_a_cheap_look_at_an_unchanged_tree(workspace: Workspace) -> None:
    """The fast path must not hide a rewrite that keeps name, size and modification time."""
    (workspace.path / "a").write_text("1")
    await checkpointed(workspace)
    for old, new in ("12", "23", "34"):
        assert await workspace.checkpoint("Nothing") is None
        assert await workspace.checkpoint("Nothing") is None
        before = (workspace.path / "a").stat()
        assert (workspace.path / "a").read_text() == old
        (workspace.path / "a").write_text(new)
        os.utime(workspace.path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await workspace.checkpoint("Rewritten") is not None


async def test_names_of_any_bytes(workspace: Workspace, home: Path) -> None:
    names = [
        b"new\nline",
        b'quote"back\\slash',
        b"not \xff utf8",
        "grüße 世界".encode(),
        b"-dash",
        b" space ",
        b"tab\t",
        b"git~1",
    ]
    for name in names:
        (workspace.path / os.fsdecode(name)).write_bytes(name)
    files = saved(home, await checkpointed(workspace))
    for name in names:
        assert files[name] == ("100644", name)
        (workspace.path / os.fsdecode(name)).unlink()
    assert set(saved(home, await checkpointed(workspace))) == {b"README.md", b"src/app.py"}


async def test_bytes_are_kept_whatever_attributes_say(
    workspaces: Workspaces, make_source: Callable[..., Source], home: Path
) -> None:
    source = make_source("crlf", files={"dos.txt": b"a\r\nb\r\n", "mixed.txt": b"a\r\nb\n"})
    source.commit(
        {".gitattributes": "* text=auto eol=crlf\n*.u16 working-tree-encoding=UTF-16\n*.up filter=upper\n*.id ident\n"}
    )
    tip = source.tip()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert (workspace.path / "dos.txt").read_bytes() == b"a\r\nb\r\n"
    assert (workspace.path / "mixed.txt").read_bytes() == b"a\r\nb\n"
    assert await workspace.checkpoint("Nothing") is None
    content = {"new.txt": b"1\r\n2\n", "x.u16": "grüße".encode(), "y.up": b"abc", "z.id": b"$Id$\n"}
    for name, data in content.items():
        (workspace.path / name).write_bytes(data)
    files = saved(home, await checkpointed(workspace))
    assert {name: files[name.encode()][1] for name in content} == content
    change = await workspace.commit(message="M", author="a", trailers={})
    assert (await workspace.publish(change)).published
    assert source.git("diff", "--stat", tip, change.commit, "--", "dos.txt", "mixed.txt") == ""


async def test_files_of_nested_repositories_are_saved(workspace: Workspace, home: Path) -> None:
    for name, commits in (("fresh", 0), ("used", 1), ("used/deeper", 1)):
        nested = Source(workspace.path / name)
        nested.write("code.py", name)
        nested.write(".gitignore", "*.log\n")
        nested.write("noise.log", "noise")
        if commits:
            nested.commit({"code.py": name})
    files = saved(home, await checkpointed(workspace))
    assert files[b"fresh/code.py"] == ("100644", b"fresh")
    assert files[b"used/code.py"] == ("100644", b"used")
    assert files[b"used/deeper/code.py"] == ("100644", b"used/deeper")
    assert not [name for name in files if b".git/" in name or name.endswith(b".log")]
    assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "used" / "more.py").write_text("more")
    assert b"used/more.py" in saved(home, await checkpointed(workspace))


async def test_submodules_stay_until_something_is_put_into_them(
    workspaces: Workspaces, make_source: Callable[..., Source], home: Path
) -> None:
    inner = make_source("inner")
    source = make_source("outer")
    source.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "lib/inner")
    source.commit()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert workspace.notes == ("submodules are not fetched, their folders are empty: lib/inner",)
    assert list((workspace.path / "lib" / "inner").iterdir()) == []
    assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "a").write_text("a")
    assert saved(home, await checkpointed(workspace))[b"lib/inner"][0] == "160000"
    (workspace.path / "lib" / "inner" / "mine.py").write_text("mine")
    files = saved(home, await checkpointed(workspace))
    assert files[b"lib/inner/mine.py"] == ("100644", b"mine")
    assert b"lib/inner" not in files
    assert await workspace.checkpoint("Nothing") is None


async def test_a_removed_submodule_is_a_removal(
    workspaces: Workspaces, make_source: Callable[..., Source], home: Path
) -> None:
    inner = make_source("inner")
    source = make_source("outer")
    source.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "inner")
    source.commit()
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    (workspace.path / "inner").rmdir()
    assert b"inner" not in saved(home, await checkpointed(workspace))


async def test_lfs_pointers_stay_pointers(workspaces: Workspaces, make_source: Callable[..., Source]) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1\n"
    source = make_source(
        "lfs", files={"data/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "data/a.bin": pointer}
    )
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    assert (workspace.path / "data" / "a.bin").read_text() == pointer
    assert len(workspace.notes) == 1
    assert "LFS" in workspace.notes[0]
    assert await workspace.checkpoint("Nothing") is None


async def test_special_files_are_passed_over(workspace: Workspace, home: Path) -> None:
    os.mkfifo(workspace.path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(workspace.path / "s"))
        (workspace.path / "a").write_text("a")
        assert set(saved(home, await checkpointed(workspace))) == {b"README.md", b"src/app.py", b"a"}
        assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "a").unlink()
    os.mkfifo(workspace.path / "a")
    assert b"a" not in saved(home, await checkpointed(workspace))


async def test_files_become_folders_and_folders_become_files(workspace: Workspace, home: Path) -> None:
    (workspace.path / "README.md").unlink()
    (workspace.path / "README.md").mkdir()
    (workspace.path / "README.md" / "inside").write_text("i")
    (workspace.path / "src" / "app.py").unlink()
    (workspace.path / "src").rmdir()
    (workspace.path / "src").write_text("s")
    files = saved(home, await checkpointed(workspace))
    assert files == {b"README.md/inside": ("100644", b"i"), b"src": ("100644", b"s")}
    (workspace.path / "src").unlink()
    (workspace.path / "src").symlink_to("README.md")
    assert saved(home, await checkpointed(workspace))[b"src"] == ("120000", b"README.md")


async def test_ignored_files_and_caches_are_left_out(
    workspaces: Workspaces, make_source: Callable[..., Source], home: Path
) -> None:
    source = make_source("ignoring", files={".gitignore": "build/\n", "a": "a"})
    workspace = await workspaces.open(task_id="t1", repo=str(source.path), base=None)
    for name in ("build/out", "src/__pycache__/m.pyc", "node_modules/x/index.js"):
        (workspace.path / name).parent.mkdir(parents=True)
        (workspace.path / name).write_text("x")
    assert await workspace.checkpoint("Nothing") is None


@pytest.mark.parametrize("how", ["removed", "folder", "other link", "symlink"])
async def test_the_git_file_in_the_tree_is_never_trusted(
    workspace: Workspace, home: Path, tmp_path: Path, how: str
) -> None:
    dot_git = workspace.path / ".git"
    dot_git.unlink()
    if how == "folder":
        Source(workspace.path).commit({"mine": "mine"})
    elif how == "other link":
        Source(tmp_path / "other").commit({"o": "o"})
        dot_git.write_text(f"gitdir: {tmp_path / 'other' / '.git'}\n")
    elif how == "symlink":
        Source(tmp_path / "other").commit({"o": "o"})
        dot_git.symlink_to(tmp_path / "other" / ".git")
    (workspace.path / "src" / "app.py").write_text("x = 3\n")
    files = saved(home, await checkpointed(workspace))
    assert files[b"src/app.py"][1] == b"x = 3\n"
    assert set(files) - {b"mine"} == {b"README.md", b"src/app.py"}
    change = await workspace.commit(message="M", author="a", trailers={})
    assert (await workspace.publish(change)).published


async def test_many_and_large_files_in_one_commit(workspace: Workspace, home: Path) -> None:
    for number in range(300):
        (workspace.path / f"f{number}").write_text(str(number))
    for number in range(3):
        (workspace.path / f"big{number}").write_bytes(bytes([number]) * (20 * 1024 * 1024))
    commit = await checkpointed(workspace)
    files = saved(home, commit)
    assert len(files) == 305
    assert files[b"big2"][1] == b"\2" * (20 * 1024 * 1024)
    assert git(home, "rev-parse", f"{commit}^").decode().strip() == workspace.base
    assert git(home, "for-each-ref", "--format=%(refname)", "refs/ezaigent/checkpoints").split() == [
        b"refs/ezaigent/checkpoints/t1"
    ]
    assert await workspace.checkpoint("Nothing") is None
    (workspace.path / "f7").write_text("x")
    assert len(saved(home, await checkpointed(workspace))) == 305


async def test_files_that_vanish_or_change_meanwhile_do_no_harm(workspace: Workspace, home: Path) -> None:
    """A command is still writing, renaming and swapping files for links while checkpoints are made."""
    script = (
        "import os, itertools, time\n"
        "end = time.time() + 3\n"
        "for n in itertools.count():\n"
        "    if time.time() > end: break\n"
        "    open('v%d' % (n % 7), 'w').write('x' * (n % 5000))\n"
        "    try: os.unlink('v%d' % ((n + 3) % 7))\n"
        "    except FileNotFoundError: pass\n"
        "    try:\n"
        "        if n % 3 == 0: os.rename('d', 'e')\n"
        "        elif n % 3 == 1: os.symlink('/etc', 'd')\n"
        "        else: os.unlink('d'); os.rename('e', 'd')\n"
        "    except OSError: pass\n"
    )
    (workspace.path / "d").mkdir()
    (workspace.path / "d" / "passwd").write_text("mine")
    writer = subprocess.Popen(["python3", "-c", script], cwd=workspace.path)  # noqa: ASYNC220
    try:
        commits = 0
        while writer.poll() is None:
            commit = await workspace.checkpoint("Busy")
            if commit is not None:
                commits += 1
                files = saved(home, commit)
                assert files.get(b"d/passwd", ("", b"mine"))[1] == b"mine", "a file of the host got into a checkpoint"
        assert commits > 3
    finally:
        writer.kill()
        writer.wait()
    calm = await workspace.checkpoint("Calm")
    assert await workspace.checkpoint("Calm") is None
    there = {path.name for path in workspace.path.iterdir() if path.name.startswith("v")}
    assert calm is None or {name.decode() for name in saved(home, calm) if name.startswith(b"v")} == there


async def test_unreadable_files_keep_their_last_content(tmp_path: Path) -> None:
    """Run without a superuser's powers: what may not be read is passed over, everything else is saved."""
    script = tmp_path / "unreadable.py"
    script.write_text(UNREADABLE)
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    done = subprocess.run(  # noqa: ASYNC221
        [*powerless, sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "README.md:one",
        "new:two",
        "could not be read and are not in it as they are: README.md",
        "None",
        "['.git', 'README.md', 'new'] one",
        "1 False",
    ]


UNREADABLE = """
import asyncio, subprocess, sys
from pathlib import Path
from ezaigent.core.settings import SandboxSettings, WorkspaceSettings
from ezaigent.workspaces import Workspaces, detect


async def main(folder):
    source = folder / "source"

    def git(*words):
        words = ["git", "-C", str(source), "-c", "user.name=n", "-c", "user.email=e", *words]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    source.mkdir()
    git("init", "-q")
    (source / "README.md").write_text("one")
    git("add", ".")
    git("commit", "-qm", "m")
    spaces = Workspaces(folder / "home", WorkspaceSettings(), await detect(SandboxSettings(level="off")))
    tree = await spaces.open(task_id="t", repo=str(source), base=None)
    (tree.path / "README.md").write_text("changed")
    (tree.path / "README.md").chmod(0)
    (tree.path / "new").write_text("two")
    (tree.path / "closed").mkdir()
    (tree.path / "closed" / "x").write_text("x")
    (tree.path / "closed").chmod(0)
    commit = await tree.checkpoint("one")
    change = await tree.publish(await tree.commit(message="m", author="a", trailers={}))
    for name in git("ls-tree", "-r", "--name-only", change.commit).split():
        print(name + ":" + git("show", change.commit + ":" + name))
    print(change.note)
    print(await tree.checkpoint("two"))
    (tree.path / "extra").mkdir()
    (tree.path / "extra" / "y").write_text("y")
    (tree.path / "extra").chmod(0)
    tree.path.chmod(0o500)
    await tree.close()
    tree = await spaces.open(task_id="t", repo=str(source), base=None, checkpoint=commit)
    print(sorted(path.name for path in tree.path.iterdir()), (tree.path / "README.md").read_text())
    await tree.close()
    print((await spaces.clean({"t": 0.0})).worktrees, tree.path.exists())


asyncio.run(main(Path(sys.argv[1])))
"""
