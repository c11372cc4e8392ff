"""The reader of the output goes away (``| head -1``): every command ends quietly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.terminal import Terminal
from tests.services.unmeasured import unmeasured

from ezaigent.cli import output
from ezaigent.cli.demo import show
from ezaigent.core.errors import RunError

FIX = "Remove unused imports in shop/prices.py"


def cut(terminal: Terminal, words: Sequence[str], *, lines: int = 0) -> tuple[int, str]:
    """Run ``ezaigent WORDS | head -n LINES``; return its own exit code and what it said on standard error."""
    with subprocess.Popen(
        [sys.executable, "-m", "ezaigent", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=unmeasured(terminal.environment),
        cwd=terminal.home.parent,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        return process.wait(timeout=60), said


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "list"),
        ("tasks", "list", "--json"),
        ("tasks", "show", "ID"),
        ("tasks", "show", "ID", "--json"),
        ("tasks", "logs", "ID"),
        ("tasks", "logs", "ID", "--json"),
        ("tasks", "why", "ID", "--json"),
        ("agents", "list", "--json"),
        ("queue",),
        ("queue", "--json"),
        ("status",),
        ("status", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("--version",),
    ],
)
def test_a_command_whose_reader_has_gone_ends_quietly(ezaigent: Terminal, repo: Path, words: tuple[str, ...]) -> None:
    task = ezaigent("submit", FIX, "--repo", str(repo)).out.strip()
    assert cut(ezaigent, [task if word == "ID" else word for word in words]) == (0, "")


@pytest.mark.sandbox
@pytest.mark.parametrize("words", [("up",), ("up", "--json"), ("worker", "--pools", "mechanic", "--json")])
def test_a_worker_whose_reader_has_gone_stops(ezaigent: Terminal, words: tuple[str, ...]) -> None:
    assert cut(ezaigent, words, lines=1) == (0, "")
    assert ezaigent("agents", "list", "--json").json["items"] == []


@pytest.mark.sandbox
def test_a_broken_pipe_of_somebody_else_is_no_quiet_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ezaigent.cli import app

    def broken() -> int:
        raise BrokenPipeError

    monkeypatch.setattr(app, "_command", broken)
    with capfd.disabled(), pytest.raises(BrokenPipeError):
        app.main()
    monkeypatch.setattr(output, "reader_gone", lambda: True)
    monkeypatch.setattr(output, "fall_silent", lambda: None)
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 0


@pytest.mark.sandbox
async def test_the_demos_own_deadline_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "_DEADLINE", 0.0)
    with pytest.raises(RunError, match=r"did not end within 0 s, 8 of its 8 tasks .*ezaigent doctor"):
        await show.show(tmp_path, crash=False, as_json=True, kept=True)
