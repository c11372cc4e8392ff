"""What the log tells of a tool call, and what it never does."""

from __future__ import annotations

from typing import Any

import pytest

from ezaigent.agents.telling import LONGEST, told_of


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"command": "python3 -m unittest -q", "timeout": 30.0}, "python3 -m unittest -q"),
        ({"path": "a.py", "content": "x = 1"}, "a.py"),
        ({"path": "a.py", "old_text": "one", "new_text": "two"}, "a.py"),
        ({"pattern": "tokens?", "path": "src", "glob": "*.py", "ignore_case": True}, "tokens? src *.py"),
        ({"path": "."}, ""),
        ({"todos": [{"path": "a.py"}]}, ""),
        ({"command": "cat <<E > a\nx\nE"}, "cat <<E > a x E"),
        ({"command": "grep -rn token src"}, "grep -rn token src"),
    ],
)
def test_a_call_is_told_by_its_command_pattern_or_path(arguments: dict[str, Any], told: str) -> None:
    assert told_of(arguments) == told


@pytest.mark.parametrize(
    "command",
    [
        "git clone https://ada:S3cr3tWord@host.example/x",
        "git clone https://S3cr3tWord@host.example/x",
        "API_TOKEN=S3cr3tWord ./deploy.sh",
        "export DB_PASSWORD='S3cr3tWord and more S3cr3tWord'; run",
        "curl -H 'Authorization: Bearer S3cr3tWord' https://host.example",
        "curl 'https://host.example/?api_key=S3cr3tWord'",
        "login --password S3cr3tWord --name ada",
        'login --client-secret="S3cr3tWord"',
        """echo '{"password": "S3cr3tWord"}' > a.json""",
        "echo known-value-S3cr3tWord",
        "echo sk-proj-S3cr3tWordS3cr3tWord",
    ],
)
def test_what_looks_like_a_secret_is_not_told(command: str) -> None:
    told = told_of({"command": command}, ["known-value-S3cr3tWord"])
    assert "S3cr3tWord" not in told
    assert told.split()[0].partition("=")[0] in command, "the rest is"


def test_a_long_command_is_cut() -> None:
    told = told_of({"command": "echo " + "x" * 100_000})
    assert told.startswith("echo xxx")
    assert len(told) == LONGEST
