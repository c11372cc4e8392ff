"""The variables that a command sees: a small fixed set, never the worker's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ezaigent.core.errors import UsageError

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where the system's programs are; the toolchain's folders come behind."""

_FIXED = {
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_CONFIG_NOSYSTEM": "1",  # the file is hidden, and git takes "may not" for a failure
    "GIT_TERMINAL_PROMPT": "0",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONDONTWRITEBYTECODE": "1",  # a check leaves no caches in the tree that it checks
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def environment(*, home: str, tmp: str, programs: Sequence[Path], extra: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a command.

    Raises ``UsageError`` for a variable in ``extra`` whose name looks like a secret's: none may enter.
    """
    path = [*SYSTEM_PATH, *map(str, programs)]
    result = {"PATH": ":".join(path), "HOME": home, "TMPDIR": tmp, **_FIXED}
    for name, value in extra.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise UsageError(f"variable {name!r} cannot be set for a command: use letters, digits and underscores")
        if _SECRET.search(name):
            raise UsageError(f"variable {name!r} looks like a secret and must not enter the sandbox: leave it out")
        result[name] = value
    return result
