"""Wrong usage, missing things, and what a command says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.terminal import Terminal


@pytest.mark.parametrize("words", [(), ("--help",), ("submit", "--help"), ("tasks", "--help"), ("agents", "--help")])
def test_help_shows_itself(ezaigent: Terminal, words: tuple[str, ...]) -> None:
    said = ezaigent(*words)
    assert "Usage: ezaigent" in said.out + said.err
    assert said.code == (0 if words else 2)
    assert "Traceback" not in said.err


def _loaded(told: str) -> set[str]:
    """Return the packages that a process loaded, by what ``PYTHONPROFILEIMPORTTIME`` lets it tell."""
    lines = (line for line in told.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = _loaded(Terminal(tmp_path, PYTHONPROFILEIMPORTTIME="1")("--help").err)
    assert {"ezaigent", "typer"} < loaded
    assert not {"asyncio", "pydantic", "orjson", "structlog", "sqlalchemy", "redis", "fastapi", "pydantic_ai"} & loaded


def test_a_fleet_with_its_api_is_ready_without_what_it_may_never_need(tmp_path: Path) -> None:
    told = tmp_path / "imports.txt"
    environment = {**Terminal(tmp_path / "home").environment, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "ezaigent", "up", "--agents", "1", "--json"]
    with (
        told.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as process,
    ):
        assert process.stdout is not None
        assert b'"url"' in process.stdout.readline()
        process.terminate()
        process.communicate(timeout=100)
    loaded = _loaded(told.read_text())
    assert {"ezaigent", "fastapi", "sqlalchemy"} < loaded
    libraries = {"pydantic_ai", "openai", "anthropic", "mistralai", "genai_prices", "aiohttp", "httpx2"}  # for models
    libraries |= {"alembic", "redis", "asyncpg"}  # for another store, or an older one
    libraries |= {"mcp", "jwt", "cryptography", "pywebpush", "aiohttp"}  # for other programs and people elsewhere
    assert not libraries & loaded


def test_the_version(ezaigent: Terminal) -> None:
    from ezaigent import __version__

    assert ezaigent("--version").out == f"ezaigent {__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("taks",), "No such command 'taks'"),
        (("submit",), "Missing"),
        (("submit", "do it"), "--repo"),
        (("submit", "  ", "--repo", "."), "the prompt is empty"),
        (("submit", "do it", "--repo", ".", "--budget", "-1"), "--budget"),
        (("submit", "do it", "--repo", ".", "--priority", "urgent"), "'--priority': 'urgent' is not one of"),
        (("submit", "do it", "--repo", "."), "not a git repository"),
        (("submit", "do it", "--repo", "nowhere"), "nowhere"),
        (("tasks", "show", "xyz"), "no task 'xyz'"),
        (("tasks", "list", "--state", "lost"), "lost"),
        (("agents", "pause", "claude-1"), "no agent 'claude-1'"),
        (("worker", "--pools", "claude=two"), "claude=two"),
        (("worker", "--pools", ","), "names no profile"),
        (("worker", "--pools", "unknown"), "no known profile 'unknown'"),
        (("--config", "absent.toml", "status"), "no settings file"),
        (("--home", "~nobody-here/x", "status"), "~nobody-here/x"),
        (("submit", "do it", "--repo", "~nobody-here/x"), "~nobody-here/x"),
        (("submit", "do it", "--repo", f"a prompt: {'x' * 300}"), "too long"),
        (("submit", "do it", "--repo", ".", "--key", ""), "the key cannot be used"),
        (("submit", "do it", "--repo", ".", "--check", ""), "the checks cannot be used"),
        (("tasks", "edit", "abc", "--budget", "inf"), "--budget must be an amount"),
        (("tasks", "show", "caf\udce9"), "no UTF-8 text"),
        (("token", "create", "ci", "--days", "nan"), "days or for good"),
        (("demo", "--keep", "/dev/null"), "--keep '/dev/null' cannot be made"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_2(ezaigent: Terminal, words: tuple[str, ...], told: str) -> None:
    said = ezaigent(*words)
    assert said.code == 2
    assert said.out == ""
    assert told in said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("prompt", "told"), [("x" * 200_001, "the prompt cannot be used"), ("caf\udce9", "no UTF-8 text")]
)
def test_a_prompt_from_a_file_that_cannot_be_one_is_told(ezaigent: Terminal, prompt: str, told: str) -> None:
    command = [sys.executable, "-m", "ezaigent", "submit", "-", "--repo", "."]
    typed = prompt.encode("utf-8", "surrogateescape")
    said = subprocess.run(
        command, input=typed, capture_output=True, env=ezaigent.environment, cwd=ezaigent.home.parent, check=False
    )
    assert said.returncode == 2
    assert told in said.stderr.decode()
    assert said.stderr.count(b"\n") == 1


def test_a_demo_without_git_says_so(tmp_path: Path) -> None:
    said = Terminal(tmp_path / "home", PATH="/nonexistent")("demo")
    assert (said.code, said.err) == (3, "error: git is not on PATH; install git 2.38 or newer\n")


def test_an_unknown_profile_and_a_wrong_base_are_told_at_once(ezaigent: Terminal, repo: Path) -> None:
    said = ezaigent("submit", "do it", "--repo", str(repo), "--profile", "cloud")
    assert (said.code, "no profile 'cloud'" in said.err) == (2, True)
    said = ezaigent("submit", "do it", "--repo", str(repo), "--base", "mian")
    assert said.code == 2
    assert "mian" in said.err
    assert ezaigent("tasks", "list", "--json").json == {"items": []}


def test_what_cannot_be_reached_is_exit_3(tmp_path: Path) -> None:
    refused = Terminal(tmp_path / "home", EZAIGENT_DATABASE_URL="postgresql://me:hidden@127.0.0.1:1/db")
    said = refused("status")
    assert said.code == 3
    assert said.err.count("\n") == 1
    assert "hidden" not in said.err
    unwritable = Terminal(Path("/proc/home"))
    unwritable.home = tmp_path / "x"
    assert unwritable("status").code == 3


def test_doctor_says_what_is_there_and_names_keys_only(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", OPENAI_API_KEY="sk-never-shown")
    said = terminal("doctor", "--json")
    findings = {finding["name"]: finding for finding in said.json["items"]}
    assert findings["git"]["status"] == "ok"
    assert findings["database"]["status"] == "ok"
    assert findings["key openai"]["status"] == "ok"
    assert findings["key anthropic"]["status"] == "warning"
    assert "ANTHROPIC_API_KEY" in findings["key anthropic"]["advice"]
    for text in (said.out, terminal("doctor").out):
        assert "sk-never-shown" not in text


def test_doctor_fails_with_3_when_something_needed_is_missing(tmp_path: Path) -> None:
    without_git = Terminal(tmp_path / "home", PATH="/nonexistent")
    said = without_git("doctor")
    assert said.code == 3
    assert "install git" in said.out
    no_redis = Terminal(tmp_path / "home", EZAIGENT_REDIS_URL="redis://me:pw-never-shown@127.0.0.1:1/0")
    said = no_redis("doctor")
    assert "Redis does not answer" in said.out
    assert "pw-never-shown" not in said.out + said.err


def test_empty_lists_say_what_to_do_next(ezaigent: Terminal) -> None:
    assert "ezaigent submit" in ezaigent("tasks", "list").err
    assert "ezaigent up" in ezaigent("agents", "list").err
    assert ezaigent("agents", "list", "--json").json == {"items": [], "pauses": {}}
    status = ezaigent("status")
    assert "none yet" in status.out
    assert ezaigent("status", "--json").json["queue"]["states"]["queued"] == 0
    assert ezaigent("queue").code == 0
