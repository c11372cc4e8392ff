"""The main job by the command line alone: submit, watch, steer, look at the result."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from tests.cli.terminal import Terminal
from tests.services.conditions import until

FIX = "Remove unused imports in shop/prices.py"
CHECK = "python3 -m unittest -q tests.test_prices"


def _git(repo: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=repo, check=True, capture_output=True, text=True).stdout


@pytest.mark.sandbox
def test_submit_wait_with_nothing_running_works_the_task_itself(ezaigent: Terminal, repo: Path) -> None:
    (repo / "shop" / "draft.txt").write_text("not committed\n")
    before = _git(repo, "status", "--porcelain")
    said = ezaigent("submit", FIX, "--repo", str(repo), "--check", CHECK, "--wait", "--json")
    assert said.code == 0, said.err
    task = said.json
    assert task["state"] == "review"
    assert task["agent"] == "mechanic-1"
    assert task["branch"] == f"ezaigent/{task['id']}"
    assert task["checks"] == [{"command": CHECK, "ok": True, "exit_code": 0}]
    assert task["usage"] == {"input_tokens": 0, "cache_read_tokens": 0, "output_tokens": 0}
    assert (task["cost_usd"], task["attempts"]) == (0.0, 1)
    assert task["steps"] > 1
    assert "import os" in _git(repo, "show", "main:shop/prices.py")
    assert "import os" not in _git(repo, "show", f"{task['branch']}:shop/prices.py")
    assert _git(repo, "rev-parse", task["branch"]).strip() == task["commit"]
    assert _git(repo, "status", "--porcelain") == before

    shown = ezaigent("tasks", "show", task["id"][:12])
    assert "review" in shown.out
    assert "mechanic-1" in shown.out
    assert ezaigent("tasks", "show", task["id"], "--json").json["commit"] == task["commit"]
    assert "-import os" in ezaigent("tasks", "diff", task["id"]).out
    assert "-import os" in ezaigent("tasks", "diff", task["id"], "--json").json["diff"]
    kinds = [json.loads(line)["kind"] for line in ezaigent("tasks", "logs", task["id"], "--json").out.splitlines()]
    assert kinds[0] == "task.submitted"
    assert "run.step" in kinds
    assert "task.review" in kinds
    assert "task.claimed" in ezaigent("tasks", "logs", task["id"], "--follow").out
    assert "ready" in ezaigent("tasks", "why", task["id"]).out or ezaigent("tasks", "why", task["id"]).out
    listed = ezaigent("tasks", "list", "--state", "review", "--json").json["items"]
    assert [one["id"] for one in listed] == [task["id"]]
    assert "Remove unused" in ezaigent("tasks", "list").out

    refused = ezaigent("tasks", "merge", task["id"])
    assert refused.code == 2
    assert "main" in refused.err
    assert ezaigent("tasks", "approve", task["id"], "--json").json["state"] == "done"
    assert ezaigent("tasks", "cancel", task["id"]).code == 2


@pytest.mark.sandbox
def test_submit_wait_shows_progress_and_exit_1_when_the_work_fails(ezaigent: Terminal, repo: Path) -> None:
    said = ezaigent("submit", "Add a login page", "--repo", str(repo), "--wait")
    assert said.code == 1
    assert "mechanic-1 takes the task" in said.err
    assert "no recipe" in said.err
    failed = ezaigent("tasks", "list", "--state", "failed", "--json").json["items"][0]
    assert "no recipe" in failed["reason"]
    assert ezaigent("tasks", "retry", failed["id"], "--json").json["state"] == "queued"
    assert ezaigent("tasks", "cancel", failed["id"], "--json").json["state"] == "cancelled"


@pytest.mark.sandbox
def test_merge_puts_the_change_on_a_branch_that_nobody_has_checked_out(ezaigent: Terminal, repo: Path) -> None:
    _git(repo, "checkout", "-q", "-b", "elsewhere")
    task = ezaigent("submit", FIX, "--repo", str(repo), "--base", "main", "--check", CHECK, "--wait", "--json").json
    assert ezaigent("tasks", "merge", task["id"], "--json").json["state"] == "done"
    assert "import os" not in _git(repo, "show", "main:shop/prices.py")


def test_a_submit_is_told_that_nobody_works_and_a_key_makes_it_one_task(ezaigent: Terminal, repo: Path) -> None:
    first = ezaigent("submit", FIX, "--repo", str(repo), "--key", "k", "--title", "[bold]\x1b[31mred")
    again = ezaigent("submit", FIX, "--repo", str(repo), "--key", "k")
    assert first.out == again.out
    assert "no worker is running" in first.err
    assert "\x1b" not in ezaigent("tasks", "list").out
    assert "ezaigent up" in ezaigent("tasks", "why", first.out.strip()).out
    dependent = ezaigent("submit", "-", "--repo", str(repo), "--needs", first.out.strip(), stdin=FIX)
    assert ezaigent("tasks", "why", dependent.out.strip(), "--json").json["why"]


@pytest.mark.sandbox
async def test_a_second_terminal_reaches_a_running_up_within_a_second(ezaigent: Terminal, repo: Path) -> None:
    with ezaigent.running("up", "--agents", "2", "--json"):
        agents = {one["name"]: one for one in ezaigent("agents", "list", "--json").json["items"]}
        assert set(agents) == {"mechanic-1", "mechanic-2"}
        assert agents["mechanic-1"]["status"] == "idle"
        assert ezaigent("agents", "pause", "all", "--json").json["items"][0]["paused"]
        assert "paused" in ezaigent("agents", "list").out
        task = ezaigent("submit", FIX, "--repo", str(repo), "--json").json
        assert ezaigent("tasks", "show", task["id"], "--json").json["state"] == "queued"
        idle = ezaigent("agents", "message", "mechanic-1", "hello")
        assert (idle.code, "has no task now" in idle.err) == (2, True)
        assert "mechanic-2" in ezaigent("agents", "resume", "mechanic-2").out
        done = ezaigent("submit", FIX, "--repo", str(repo), "--key", "other", "--wait", "--json").json
        assert done["agent"] == "mechanic-2"
        assert "mechanic-2" in ezaigent("status").out
    assert ezaigent("agents", "list", "--json").json["pauses"] == {"*": True, "mechanic-2": False}
    assert "paused until resumed: all" in ezaigent("agents", "list").err


def _slow(repo: Path, seconds: float) -> tuple[str, ...]:
    return ("submit", FIX, "--repo", str(repo), "--check", f"sleep {seconds}", "--json")


@pytest.mark.sandbox
async def test_ctrl_c_once_drains_and_the_running_task_finishes(ezaigent: Terminal, repo: Path) -> None:
    with ezaigent.running("up", "--agents", "1", "--json") as process:
        task = ezaigent(*_slow(repo, 4)).json["id"]
        await until(lambda: _state(ezaigent, task) == "running", within=30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert _state(ezaigent, task) == "review"


@pytest.mark.sandbox
async def test_ctrl_c_twice_stops_at_once_and_nothing_is_lost(ezaigent: Terminal, repo: Path) -> None:
    with ezaigent.running("up", "--agents", "1") as process:
        task = ezaigent(*_slow(repo, 61.5)).json["id"]
        await until(lambda: _checking(61.5), within=60)
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert "draining: 1 running" in process.stderr.readline()  # two signals at once would be one
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert _state(ezaigent, task) == "queued"
    cancelled = ezaigent("tasks", "cancel", task, "--json").json
    assert cancelled["state"] == "cancelled"


@pytest.mark.sandbox
async def test_cancel_ends_a_running_command(ezaigent: Terminal, repo: Path) -> None:
    with ezaigent.running("up", "--agents", "1", "--json"):
        task = ezaigent(*_slow(repo, 97.25)).json["id"]
        await until(lambda: _checking(97.25), within=60)
        ezaigent("tasks", "cancel", task)
        await until(lambda: _state(ezaigent, task) == "cancelled", within=10)


def _state(terminal: Terminal, task: str) -> str:
    return terminal("tasks", "show", task, "--json").json["state"]


def _checking(seconds: float) -> bool:
    """Whether the check ``sleep SECONDS`` runs now: each test has its own number."""
    return any(one.info["cmdline"] == ["sleep", str(seconds)] for one in psutil.process_iter(["cmdline"]))


@pytest.mark.sandbox
def test_the_demo_keeps_its_promises(ezaigent: Terminal, tmp_path: Path) -> None:
    said = ezaigent("demo", "--json")
    assert said.code == 0, said.err
    tasks = said.json["items"]
    assert len(tasks) == 8
    assert sum(task["state"] == "review" for task in tasks) == 7
    assert sum(bool(task["needs"]) for task in tasks) == 2
    assert [task["title"] for task in tasks if task["state"] == "failed"] == ["Add a login page"]
    mended = next(task for task in tasks if task["title"] == "Tidy tax.py")
    assert mended["checks"][0]["ok"]
    assert len({task["agent"] for task in tasks}) == 3
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "file").touch()
    assert ezaigent("demo", "--keep", str(occupied)).code == 2


@pytest.mark.sandbox
def test_the_demo_survives_the_crash_that_it_shows(ezaigent: Terminal, tmp_path: Path) -> None:
    said = ezaigent("demo", "--crash", "--keep", str(tmp_path / "kept"), timeout=220)
    assert said.code == 0, said.err + said.out
    assert "kill -9" in said.err
    assert "7 changes with passing checks, 1 refusal as expected" in said.out
    branches = _git(tmp_path / "kept" / "shop", "branch", "--list", "ezaigent/*").split()
    assert len(branches) == 7
