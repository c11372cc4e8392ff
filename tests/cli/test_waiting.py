"""``submit --wait`` says what it waits for, and never waits for what cannot come."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
from tests.cli.terminal import Terminal
from tests.services.conditions import until

FIX = "Remove unused imports in shop/prices.py"


@contextmanager
def waiting(terminal: Terminal, *words: str) -> Generator[subprocess.Popen[str]]:
    """Run ``ezaigent submit WORDS --wait --json`` beside the test."""
    argv = [sys.executable, "-m", "ezaigent", "submit", *words, "--wait", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdout=pipe, stderr=pipe, text=True, env=terminal.environment, cwd=terminal.home.parent
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def ended(process: subprocess.Popen[str]) -> Any:
    """Wait for the end; return the task that it printed."""
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.sandbox
def test_it_says_that_all_agents_are_paused_and_goes_on_when_one_is_resumed(ezaigent: Terminal, repo: Path) -> None:
    with ezaigent.running("up", "--agents", "1", "--json"):
        ezaigent("agents", "pause", "all")
        with waiting(ezaigent, FIX, "--repo", str(repo)) as process:
            assert "mechanic-1 is paused; let it go on with ezaigent agents resume all" in line(process.stderr)
            ezaigent("agents", "resume", "all")
            assert ended(process)["state"] == "review"


@pytest.mark.sandbox
async def test_it_says_that_the_agent_that_has_the_task_is_paused(ezaigent: Terminal, repo: Path) -> None:
    words = (FIX, "--repo", str(repo), "--check", "sleep 63.5")
    with ezaigent.running("up", "--agents", "1"), waiting(ezaigent, *words) as process:
        running = ("tasks", "list", "--state", "running", "--json")
        await until(lambda: ezaigent(*running).json["items"], within=30)
        ezaigent("agents", "pause", "all")
        assert "is held: mechanic-1 is paused" in line(process.stderr)
        ezaigent("tasks", "cancel", ezaigent(*running).json["items"][0]["id"])
        assert json.loads(process.communicate(timeout=60)[0])["state"] == "cancelled"
        assert process.returncode == 1


@pytest.mark.sandbox
def test_it_works_the_task_itself_when_the_worker_stops_meanwhile(ezaigent: Terminal, repo: Path) -> None:
    with ezaigent.running("up", "--agents", "1", "--json") as up:
        ezaigent("agents", "pause", "all")
        with waiting(ezaigent, FIX, "--repo", str(repo)) as process:
            assert "paused" in line(process.stderr)
            up.send_signal(signal.SIGTERM)
            up.communicate(timeout=60)
            assert "no worker is left" in line(process.stderr)
            assert "is queued" in line(process.stderr), "the agent of this name stays paused over restarts"
            ezaigent("agents", "resume", "all")
            assert ended(process)["state"] == "review"


@pytest.mark.sandbox
def test_it_takes_over_from_a_worker_that_was_killed(ezaigent: Terminal, repo: Path) -> None:
    dying = Terminal(ezaigent.home, EZAIGENT_FAILPOINTS="check.mid=kill")
    words = (FIX, "--repo", str(repo), "--check", "true")
    with dying.running("up", "--agents", "1"), waiting(ezaigent, *words) as process:
        assert "no worker is left" in line(process.stderr)
        assert ended(process)["state"] == "review"


def test_what_needs_others_and_has_no_worker_is_exit_3_in_one_line(ezaigent: Terminal, repo: Path) -> None:
    first = ezaigent("submit", FIX, "--repo", str(repo)).out.strip()
    said = ezaigent("submit", FIX, "--repo", str(repo), "--needs", first, "--wait")
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert f"waits for {first}" in said.err
    assert "stays queued: start ezaigent up" in said.err


def checking(seconds: float) -> bool:
    """Whether the check ``sleep SECONDS`` runs now: each test has its own number."""
    return any(one.info["cmdline"] == ["sleep", str(seconds)] for one in psutil.process_iter(["cmdline"]))


@pytest.mark.sandbox
async def test_ctrl_c_once_lets_its_own_worker_finish(ezaigent: Terminal, repo: Path) -> None:
    with waiting(ezaigent, FIX, "--repo", str(repo), "--check", "sleep 3.25") as process:
        await until(lambda: checking(3.25), within=60)
        process.send_signal(signal.SIGINT)
        assert "may finish (Ctrl-C again stops at once)" in line(process.stderr)
        assert ended(process)["state"] == "review"


@pytest.mark.sandbox
async def test_ctrl_c_twice_keeps_the_task_and_says_how_to_go_on(ezaigent: Terminal, repo: Path) -> None:
    with waiting(ezaigent, FIX, "--repo", str(repo), "--check", "sleep 64.5") as process:
        await until(lambda: checking(64.5), within=60)
        process.send_signal(signal.SIGINT)
        assert "draining" in line(process.stderr)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        (task,) = ezaigent("tasks", "list", "--json").json["items"]
        assert (process.returncode, out, task["state"]) == (130, "", "queued")
        assert err == f"{task['id']} stays queued with everything that was done; go on with: ezaigent up\n"


@pytest.mark.sandbox
async def test_ctrl_c_leaves_a_task_to_the_worker_that_has_it(ezaigent: Terminal, repo: Path) -> None:
    words = (FIX, "--repo", str(repo), "--check", "sleep 4.75")
    with ezaigent.running("up", "--agents", "1", "--json"), waiting(ezaigent, *words) as process:
        await until(lambda: checking(4.75), within=60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        (task,) = ezaigent("tasks", "list", "--json").json["items"]
        assert (process.returncode, task["state"]) == (130, "running")
        assert f"{task['id']} goes on without being watched" in err
