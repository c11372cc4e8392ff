"""What the log tells of a tool call: its command, pattern or path, shortly, and nothing that looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from ezaigent.agents.provider_errors import scrub
from ezaigent.core.logins import without_login

LONGEST: Final = 200
"""Characters that are told."""
_TOLD: Final = ("command", "pattern", "path", "glob")
"""The arguments that say what a call is about, in this order; never a file's content."""
_READ: Final = 10_000
"""Characters that are looked at: a command may hold a whole file."""
_VALUE: Final = r"\"[^\"]*\"?|'[^']*'?|[^\s\"';&|]+"
_NAME: Final = r"(?:password|passwd|passphrase|secret|token|credential|api[_-]?key|access[_-]?key)[\w-]{0,40}"
_GIVEN: Final = re.compile(rf"(?i)({_NAME}[\"']?\s{{0,9}}[=:]\s{{0,9}}|--[\w-]{{0,40}}{_NAME}\s{{1,9}})(?:{_VALUE})")
"""A value that is given by a name like ``API_TOKEN=``, ``"password":`` or ``--secret``."""


def told_of(arguments: Mapping[str, Any], secrets: Collection[str] = ()) -> str:
    """Return the call's arguments in one line of at most ``LONGEST`` characters; ``secrets`` are blotted out."""
    given = [arguments.get(name) for name in _TOLD]
    text = " ".join(one[:_READ] for one in given if isinstance(one, str) and one not in {"", "."})
    line = scrub(_GIVEN.sub(r"\1***", without_login(text)), secrets)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
