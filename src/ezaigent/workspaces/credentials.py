"""Logins that came inside a URL: kept in memory, handed to git without showing on a command line or in a file."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

# A server may redirect to another one, for which git would ask again: the login is for one host only.
_ASKPASS = """#!/bin/sh
host=$EZAIGENT_GIT_HOST
case "$1" in
*"//$host'"* | *"@$host'"* | *"//$host/"* | *"@$host/"*) ;;
*) exit 1 ;;
esac
case "$1" in
Username*) printf '%s\\n' "$EZAIGENT_GIT_USERNAME" ;;
*) printf '%s\\n' "$EZAIGENT_GIT_PASSWORD" ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and password, or token, for one remote."""

    host: str
    """The only host it is for, with the port where the URL has one."""
    username: str
    password: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any text, plain and as in a URL."""
        words = [self.password] if self.password else [self.username]  # a token alone stands where the name would
        return tuple(dict.fromkeys([*words, *(quote(word, safe="") for word in words)]))

    def environment(self) -> dict[str, str]:
        """Return the variables that make git ask a program of ours, which answers from its environment."""
        return {
            "GIT_ASKPASS": _program(),
            "EZAIGENT_GIT_HOST": self.host,
            "EZAIGENT_GIT_USERNAME": self.username,
            "EZAIGENT_GIT_PASSWORD": self.password,
        }


@cache
def _program() -> str:
    folder = Path(tempfile.mkdtemp(prefix="ezaigent-askpass-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "askpass"
    path.write_text(_ASKPASS)
    os.chmod(path, stat.S_IRWXU)  # noqa: PTH101  (Path.chmod does the same; this says it with the constant)
    return str(path)
