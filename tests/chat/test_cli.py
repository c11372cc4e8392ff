"""The command line talks to a fleet that works in another process."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.terminal import Terminal

from ezaigent.cli.demo import build

PRD = "# Shop\n\n1. Add a price\n2. Show the price in the cart\n\n## Checks\n\n- `true`\n"


@pytest.fixture
def ezaigent(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", EZAIGENT_FLEET__POOLS='{"mechanic": 2, "claude": 1}', EZAIGENT_SERVER__PORT="0")


@contextmanager
def working(terminal: Terminal) -> Generator[None]:
    """Run ``ezaigent up`` beside."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "up", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=terminal.environment,
    )
    try:
        assert process.stdout is not None
        assert '"ready"' in process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.sandbox
def test_status_and_pausing_all_but_one_end_to_end(ezaigent: Terminal) -> None:
    with working(ezaigent):
        assert "3 idle" in ezaigent("chat", "/status").out
        asked = ezaigent("chat", "pause everything except claude-1")
        assert asked.code == 0
        assert "mechanic-1, mechanic-2" in asked.out
        assert _paused(ezaigent) == []
        assert "paused: mechanic-1, mechanic-2" in ezaigent("chat", "yes").out
        assert _paused(ezaigent) == ["mechanic-1", "mechanic-2"]
        assert ezaigent("chat", "yes").code == 2
        lines = ezaigent("chat", "start everyone", "--yes", "--json").out.splitlines()
        assert [json.loads(line)["confirmation"] is not None for line in lines] == [True, False]
        assert _paused(ezaigent) == []
        said = [json.loads(line) for line in ezaigent("chat", "--history", "3", "--json").out.splitlines()]
        assert [one["role"] for one in said] == ["fleet", "person", "fleet"]


def _paused(terminal: Terminal) -> list[str]:
    return [one["name"] for one in terminal("agents", "list", "--json").json["items"] if one["paused"]]


def test_what_is_not_understood_ends_with_the_code_for_wrong_usage(ezaigent: Terminal) -> None:
    said = ezaigent("chat", "/nonsense")
    assert said.code == 2
    assert "there are: /status" in said.out
    assert ezaigent("chat", "hello", "--to", "nobody-1").code == 2
    assert "ada" not in ezaigent("chat", "--history", "5").out


def test_lines_from_a_pipe_are_a_conversation(ezaigent: Terminal) -> None:
    said = ezaigent("chat", "--json", stdin="/queue\n\n/help\n")
    assert said.code == 0, said.err
    assert [json.loads(line)["command"]["kind"] for line in said.out.splitlines()] == ["queue", "help"]


@pytest.mark.parametrize("leave", [b"\x04", b"\x03"])
def test_a_conversation_has_a_prompt_a_history_and_ends_cleanly(ezaigent: Terminal, leave: bytes) -> None:
    code, shown = _typed(ezaigent, [b"how deep is the queue?\r", leave])
    assert code == 0, shown
    assert "connected to" in shown
    assert "no agent is there: start some with ezaigent up" in shown
    assert "fleet> " in shown
    assert "0 queued" in shown
    assert "left; the fleet goes on" in shown
    assert "how deep is the queue?" in (ezaigent.home / "chat_history").read_text()
    assert (ezaigent.home / "chat_history").stat().st_mode & 0o077 == 0


def _typed(terminal: Terminal, keys: list[bytes]) -> tuple[int, str]:
    """Run ``ezaigent chat`` on a terminal of its own, type when the prompt is there, return what was shown."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "chat"],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**terminal.environment, "TERM": "dumb"},
        start_new_session=True,
        preexec_fn=_own_terminal,  # noqa: PLW1509 - nothing else runs in this process
    )
    os.close(other)
    shown = b""
    try:
        for key in keys:
            shown += _until(main, b"fleet> ")
            os.write(main, key)
        ends = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < ends:
            shown += _until(main, None, 2.0)
            with contextlib.suppress(OSError):  # a signal between the prompt and Python's wait for a key is heard late
                os.write(main, keys[-1])
        return process.wait(20), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(main)


def _own_terminal() -> None:
    import fcntl
    import signal
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell lets what it starts in the background ignore it


def _until(terminal: int, what: bytes | None, seconds: float = 30.0) -> bytes:
    """Read until ``what`` was shown, the other side is closed, or the time is over."""
    got = b""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and (what is None or what not in got):
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                chunk = os.read(terminal, 4096)
            except OSError:  # closed
                return got
            got += chunk
    return got


def test_a_document_becomes_a_plan_that_is_edited_and_queued_once(ezaigent: Terminal, tmp_path: Path) -> None:
    repo = build(tmp_path)
    (tmp_path / "prd.md").write_text(PRD)
    plan = tmp_path / "plan.toml"
    drafted = ezaigent("plan", str(tmp_path / "prd.md"), "--out", str(plan))
    assert drafted.code == 0, drafted.err
    assert "Show the price in the cart" in drafted.out
    assert ezaigent("tasks", "list", "--json").json["items"] == []
    plan.write_text(plan.read_text().replace('checks = ["true"]', 'checks = ["true", "make -n"]', 1))
    queued = ezaigent("plan", "--submit", str(plan), "--repo", str(repo), "--json")
    assert queued.code == 0, queued.err
    first, second = queued.json["queued"]
    assert ezaigent("plan", "--submit", str(plan), "--repo", str(repo), "--json").json["queued"] == [first, second]
    tasks = {task["id"]: task for task in ezaigent("tasks", "list", "--json").json["items"]}
    assert tasks[second]["needs"] == [first]
    assert (tasks[first]["state"], tasks[second]["state"]) == ("queued", "waiting")


def test_a_plan_that_cannot_be_queued_queues_nothing(ezaigent: Terminal, tmp_path: Path) -> None:
    repo = build(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text("[[tasks]]\nname='a'\nprompt='x'\n[[tasks]]\nname='b'\nprompt='x'\nprofile='bob'\n")
    assert "no profile 'bob'" in ezaigent("plan", "--submit", str(plan), "--repo", str(repo)).err
    plan.write_text("[[tasks]]\nname='a'\nprompt='x'\nneeds=['b']\n[[tasks]]\nname='b'\nprompt='x'\nneeds=['a']\n")
    refused = ezaigent("plan", "--submit", str(plan), "--repo", str(repo))
    assert refused.code == 2
    assert "a → b → a" in refused.err
    assert ezaigent("plan", str(tmp_path / "missing.md")).code == 2
    assert ezaigent("plan", "-", stdin="").code == 2
    assert ezaigent("tasks", "list", "--json").json["items"] == []
