"""A repository on "another machine": real git over a stand-in for ssh, which can be made to hang."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

_SSH = """#!/bin/sh
for command; do :; done
echo "$command" >> '{folder}/calls'
if [ -e '{folder}/hang' ] && echo "$command" | grep -q "$(cat '{folder}/hang')"; then
    calls=$(cat '{folder}/left')
    if [ "$calls" -eq 0 ]; then echo $$ >> '{folder}/hanging'; sleep 3600; fi
    echo $((calls - 1)) > '{folder}/left'
fi
exec sh -c "$command"
"""


class FarAway:
    """Serves repositories of this machine as ``ssh://far/…``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self._folder = folder
        program = folder / "ssh"
        program.write_text(_SSH.format(folder=folder))
        program.chmod(0o755)
        monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
        monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")

    def url(self, repo: Path) -> str:
        """The repository's URL."""
        return f"ssh://far{repo}"

    def hang(self, service: str, *, after: int = 0) -> None:
        """Let ``upload-pack`` (look, fetch) or ``receive-pack`` (push) hang, once it was called ``after`` times."""
        (self._folder / "left").write_text(f"{after}\n")
        (self._folder / "hang").write_text(service)

    def heal(self) -> None:
        """Let all calls through."""
        (self._folder / "hang").unlink()

    @property
    def hangs(self) -> bool:
        """Whether a call hangs, or hung."""
        return (self._folder / "hanging").exists()

    @property
    def over(self) -> bool:
        """Whether no hanging call is left running."""
        pids = [int(line) for line in (self._folder / "hanging").read_text().split()]
        return not any(psutil.pid_exists(pid) and _state(pid) != "Z" for pid in pids)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def locks_below(folder: Path) -> list[str]:
    """Return the lock files and half-written packs that git left behind in mirrors."""
    found: list[str] = []
    for at, _, names in os.walk(folder):
        found += [
            name
            for name in names
            if name.startswith(("tmp_pack", "tmp_idx")) or (name.endswith(".lock") and at != str(folder))
        ]
    return found
