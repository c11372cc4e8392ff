"""Whether a path is inside a task's scope."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def in_scope(path: str, scope: Sequence[str]) -> bool:
    """Whether ``path`` matches one of the globs; an empty scope holds everything.

    ``*`` stays within one folder, ``**`` crosses them, and a folder's name alone (``src``, ``src/``) holds all below.
    """
    return not scope or any(_compiled(glob).fullmatch(path) for glob in scope)


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    pattern = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./").rstrip("/")):
        pattern += {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece, re.escape(piece))
    return re.compile(f"{pattern}(?:/.*)?")
