"""What every level does for a command that behaves: run it, tell how it ended, leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from pathlib import Path

import pytest
from confined import EVERY, alive, build

from ezaigent.core.errors import SandboxUnavailable, UnavailableError, UsageError
from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox import Sandbox, detect
from ezaigent.workspaces.sandbox.bubblewrap import BubblewrapSandbox
from ezaigent.workspaces.sandbox.view import View

pytestmark = pytest.mark.sandbox


@pytest.fixture(params=EVERY)
async def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return await build(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "a tree with späces"
    folder.mkdir()
    return folder


@pytest.fixture
def mark() -> str:
    return f"mark-{uuid.uuid4().hex}"


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


async def gone(mark: str) -> None:
    deadline = time.monotonic() + 10
    while alive(mark):
        assert time.monotonic() < deadline, f"still alive: {alive(mark)}"
        await asyncio.sleep(0.02)


async def test_a_command_works_in_its_tree(sandbox: Sandbox, tree: Path) -> None:
    (tree / "in").write_text("from outside\n")
    (tree / "sub").mkdir()
    result = await sandbox.run("pwd; cat ../in; echo made > out; mkdir d && mv out d/", cwd=tree / "sub", writable=tree)
    assert result.output == f"{tree / 'sub'}\nfrom outside\n"
    assert (result.exit_code, result.limit, result.timed_out, result.truncated) == (0, None, False, False)
    made = tree / "sub" / "d" / "out"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == os.getuid()
    assert made.stat().st_gid == os.getgid()


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 3", 3), ("no-such-program", 127), ("/etc/passwd", 126), ("ls /no-such-file", 2)],
)
async def test_the_exit_code_is_the_commands_own(sandbox: Sandbox, tree: Path, command: str, code: int) -> None:
    result = await sandbox.run(command, cwd=tree, writable=tree)
    assert (result.exit_code, result.limit) == (code, None)


@pytest.mark.parametrize("signal", ["TERM", "KILL", "SEGV"])
async def test_death_by_a_signal_is_told_as_128_and_more(tree: Path, signal: str) -> None:
    for level in ("bubblewrap", "landlock", "off"):
        result = await (await build(level)).run(f"kill -{signal} $$", cwd=tree, writable=tree)
        assert result.exit_code == 128 + {"TERM": 15, "KILL": 9, "SEGV": 11}[signal]


async def test_both_streams_come_as_one_text_in_order(sandbox: Sandbox, tree: Path) -> None:
    result = await sandbox.run("echo one; echo two >&2; printf 'bad \\377 byte'", cwd=tree, writable=tree)
    assert result.output == "one\ntwo\nbad \ufffd byte"


async def test_output_arrives_while_the_command_runs(sandbox: Sandbox, tree: Path) -> None:
    told: list[str] = []

    def listen(chunk: str) -> None:
        told.append(chunk)
        (tree / "go").touch()  # the command ends only because this was called

    result = await sandbox.run(
        "echo ready; while [ ! -e go ]; do sleep 0.01; done; echo done",
        cwd=tree,
        writable=tree,
        on_output=listen,
    )
    assert result.exit_code == 0
    assert "".join(told) == result.output == "ready\ndone\n"


async def test_a_failing_listener_ends_the_command_and_is_heard_of(sandbox: Sandbox, tree: Path, mark: str) -> None:
    def listen(chunk: str) -> None:
        raise LookupError(chunk)

    with pytest.raises(LookupError, match="ready"):
        await sandbox.run("echo ready; sleep 100", cwd=tree, writable=tree, env={"MARK": mark}, on_output=listen)
    assert not alive(mark)


async def test_the_environment_is_a_small_fixed_set(
    sandbox: Sandbox, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AWS_SESSION", "SSH_AUTH_SOCK", "GIT_DIR", "LD_PRELOAD", "PYTHONPATH"):
        monkeypatch.setenv(name, "planted")
    result = await sandbox.run("env", cwd=tree, writable=tree, env={"COLUMNS": "80"})
    names = {line.partition("=")[0] for line in result.output.splitlines()}
    assert names <= {
        *(
            "PATH",
            "HOME",
            "TMPDIR",
            "LANG",
            "TERM",
            "PWD",
            "NO_COLOR",
            "PAGER",
            "GIT_PAGER",
            "GIT_TERMINAL_PROMPT",
            "GIT_CONFIG_NOSYSTEM",
        ),
        *(
            "PIP_NO_INPUT",
            "PIP_DISABLE_PIP_VERSION_CHECK",
            "PYTHONDONTWRITEBYTECODE",
            "COLUMNS",
            "OLDPWD",
            "SHLVL",
            "_",
        ),
    }
    assert "COLUMNS=80" in result.output
    assert "planted" not in result.output


async def test_home_and_temporary_folder_are_private_empty_and_writable(sandbox: Sandbox, tree: Path) -> None:
    command = (
        'ls -A "$HOME" "$TMPDIR" | grep -v -e : -e "^tmp$" -e "^home$" -e "^$"; touch "$HOME/.x" "$TMPDIR/y"; ls -A ~'
    )
    first = await sandbox.run(command, cwd=tree, writable=tree)
    second = await sandbox.run(command, cwd=tree, writable=tree)
    assert first.exit_code == 0
    assert ".x" in first.output
    assert first.output == second.output


async def test_the_toolchain_of_the_worker_is_at_hand(sandbox: Sandbox, tree: Path) -> None:
    (tree / "bad.py").write_text("import os\n")
    own = f"{sys.executable} -c 'import pytest'"
    command = f"python3 -c 'import json, ssl; print(json.dumps(40 + 2))' && {own} && ruff check bad.py"
    result = await sandbox.run(command, cwd=tree, writable=tree)
    assert result.exit_code == 1, result.output
    assert "42" in result.output
    assert "F401" in result.output


async def test_ordinary_work_with_files_is_possible(sandbox: Sandbox, tree: Path) -> None:
    program = """
import os, shutil, sqlite3, subprocess, tempfile, threading
open("a", "w").write("a")
os.chmod("a", 0o755); shutil.copy2("a", "b"); os.rename("b", "c"); os.symlink("c", "link"); os.link("c", "hard")
os.truncate("a", 0); os.utime("a", (1000, 2000)); shutil.copytree(".", tempfile.mkdtemp() + "/copy")
with tempfile.TemporaryFile() as file: file.write(b"x")
sqlite3.connect("db").execute("create table t (x)")
worker = threading.Thread(target=print, args=("thread",)); worker.start(); worker.join()
print(subprocess.run(["git", "init", "-q", "r"]).returncode, oct(os.stat("c").st_mode), int(os.stat("a").st_mtime))
"""
    (tree / "work.py").write_text(program)
    result = await sandbox.run(
        "python3 work.py && chmod +x work.py && cp -a c d && touch -d 2001-01-01 d && rm -r r", cwd=tree, writable=tree
    )
    assert result.output == "thread\n0 0o100755 2000\n"
    assert result.exit_code == 0
    assert (tree / "work.py").stat().st_mode & 0o111
    assert time.gmtime((tree / "d").stat().st_mtime).tm_year in {2000, 2001}


async def test_readable_paths_can_be_read_and_not_written(tree: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "file").write_text("to read")
    for level in ("bubblewrap", "landlock", "landlock-bare"):
        sandbox = await build(level)
        command = f"cat {given}/file; echo no > {given}/file; echo no > {given}/new"
        result = await sandbox.run(command, cwd=tree, writable=tree, readable=[given, tmp_path / "not there"])
        assert result.output.startswith("to read")
        assert result.exit_code != 0
        assert [path.name for path in given.iterdir()] == ["file"]
        assert (given / "file").read_text() == "to read"


async def test_cancelling_ends_the_command_and_all_that_it_started(sandbox: Sandbox, tree: Path, mark: str) -> None:
    ready = asyncio.Event()
    running = asyncio.create_task(
        sandbox.run(
            "trap '' TERM INT HUP; setsid sleep 100 & (sleep 100 &) ; echo ready; sleep 100",
            cwd=tree,
            writable=tree,
            env={"MARK": mark},
            on_output=lambda _: ready.set(),
        )
    )
    await asyncio.wait_for(ready.wait(), 20)
    assert alive(mark)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(mark)


async def test_cancelling_at_once_leaves_nothing(sandbox: Sandbox, tree: Path, mark: str) -> None:
    for delay in (0, 0.001, 0.003, 0.006, 0.01, 0.02):
        running = asyncio.create_task(sandbox.run("sleep 100", cwd=tree, writable=tree, env={"MARK": mark}))
        await asyncio.sleep(delay)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    await gone(mark)


async def test_many_commands_at_a_time_do_not_get_into_each_others_way(sandbox: Sandbox, tree: Path) -> None:
    results = await asyncio.gather(
        *(sandbox.run(f"echo {n}; exit {n}", cwd=tree, writable=tree) for n in range(20)),
    )
    assert [(result.output, result.exit_code) for result in results] == [(f"{n}\n", n) for n in range(20)]


async def test_no_file_descriptor_is_left_open(sandbox: Sandbox, tree: Path) -> None:
    await sandbox.run("true", cwd=tree, writable=tree)
    before = descriptors()
    for _ in range(3):
        await sandbox.run("true", cwd=tree, writable=tree)
    assert descriptors() == before


async def test_a_worker_that_is_killed_takes_its_commands_along(tree: Path, mark: str) -> None:
    for level in ("bubblewrap", "landlock", "off"):
        await build(level)
        program = (
            "import asyncio, pathlib, sys\n"
            "from ezaigent.core.settings import SandboxSettings\n"
            "from ezaigent.workspaces.sandbox import detect\n"
            "async def main():\n"
            "    sandbox = await detect(SandboxSettings(level=sys.argv[1]))\n"
            "    tree = pathlib.Path(sys.argv[2])\n"
            "    await sandbox.run('setsid sleep 100 & echo up; sleep 100', cwd=tree, writable=tree,\n"
            "        env={'MARK': sys.argv[3]}, on_output=lambda chunk: print(chunk, flush=True))\n"
            "asyncio.run(main())\n"
        )
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, level, str(tree), mark, stdout=asyncio.subprocess.PIPE
        )
        assert worker.stdout is not None
        assert await asyncio.wait_for(worker.stdout.readline(), 30) == b"up\n"
        assert len(alive(mark)) > 1
        worker.kill()
        await worker.wait()
        await gone(mark)


async def test_requests_that_cannot_be_are_refused_before_anything_starts(tree: Path, tmp_path: Path) -> None:
    sandbox = await build("bubblewrap")
    (tree / "way-out").symlink_to(tmp_path)
    for cwd in (tmp_path, tree / "missing", tree / "way-out", tree / ".."):
        with pytest.raises(UsageError, match="tree"):
            await sandbox.run("touch made", cwd=cwd, writable=tree)
    with pytest.raises(UsageError, match="NUL"):
        await sandbox.run("echo \0", cwd=tree, writable=tree)
    with pytest.raises(UsageError, match="longer than"):
        await sandbox.run("x" * 200_000, cwd=tree, writable=tree)
    for name in ("MISTRAL_API_KEY", "GITHUB_TOKEN", "db_password"):
        with pytest.raises(UsageError, match="secret"):
            await sandbox.run("env", cwd=tree, writable=tree, env={name: "x"})
    with pytest.raises(UsageError, match="cannot be set"):
        await sandbox.run("env", cwd=tree, writable=tree, env={"A=B": "x"})
    assert not (tmp_path / "made").exists()


async def test_a_command_of_the_greatest_length_runs(sandbox: Sandbox, tree: Path) -> None:
    command = "printf " + "x" * (128 * 1024 - 8)
    result = await sandbox.run(command, cwd=tree, writable=tree)
    assert len(result.output) == len(command) - len("printf ")


@pytest.fixture
def broken_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bubblewrap that is installed and cannot start, as in most containers."""
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


async def test_the_ladder_takes_the_strongest_level_that_runs_a_command(
    broken_bubblewrap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await build("landlock")
    assert (await detect(SandboxSettings())).level == "landlock"
    monkeypatch.setenv("PATH", os.environ["PATH"].removeprefix(f"{broken_bubblewrap.parent}:"))
    await build("bubblewrap")
    assert (await detect(SandboxSettings())).level == "bubblewrap"
    assert (await detect(SandboxSettings(level="landlock"))).level == "landlock"
    assert (await detect(SandboxSettings(level="off"))).level == "off"


@pytest.mark.usefixtures("broken_bubblewrap")
async def test_without_a_working_level_it_says_why_and_what_to_do() -> None:
    with pytest.raises(SandboxUnavailable) as caught:
        await detect(SandboxSettings(level="bubblewrap"))
    text = str(caught.value)
    assert "No permissions to create new namespace" in text
    assert "install bubblewrap" in text
    assert "\n" not in text


async def test_a_sandbox_that_breaks_is_not_a_command_that_fails(broken_bubblewrap: Path, tree: Path) -> None:
    sandbox = BubblewrapSandbox(SandboxSettings(), View(paths=(), programs=()), groups=None)
    with pytest.raises(UnavailableError, match="the sandbox itself failed: bwrap: No permissions"):
        await sandbox.run("true", cwd=tree, writable=tree)
    broken_bubblewrap.unlink()  # noqa: ASYNC240
    with pytest.raises(UnavailableError, match="cannot start"):
        await sandbox.run("true", cwd=tree, writable=tree)


async def test_a_sandbox_that_is_killed_from_outside_is_not_a_command_that_fails(tree: Path, mark: str) -> None:
    sandbox = await build("bubblewrap")
    ready = asyncio.Event()
    running = asyncio.create_task(
        sandbox.run("echo up; sleep 100", cwd=tree, writable=tree, env={"MARK": mark}, on_output=lambda _: ready.set())
    )
    await asyncio.wait_for(ready.wait(), 20)
    os.kill(min(alive(mark)), 9)
    with pytest.raises(UnavailableError, match="ended from outside by signal 9"):
        await running
    assert not alive(mark)


async def test_every_level_says_what_it_enforces(sandbox: Sandbox) -> None:
    assert sandbox.level in sandbox.description.lower()
    assert "\n" not in sandbox.description
    if sandbox.level == "off":
        assert "everything" in sandbox.description
    else:
        assert "network" in sandbox.description or "sockets" in sandbox.description
