"""Globs that say which files a change may touch, read the way ``.gitignore`` reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def outside(paths: Iterable[str], scope: Sequence[str]) -> list[str]:
    """Return the paths that no glob of ``scope`` covers; an empty scope covers everything.

    ``*`` and ``?`` stay within one folder, ``**`` goes through any number; a glob that names a folder covers all below
    it. A glob with a slash at its start or inside counts from the top, any other in every folder.
    """
    if not scope:
        return []
    patterns = [_pattern(glob) for glob in scope]
    return [path for path in paths if not any(pattern.fullmatch(path) for pattern in patterns)]


def _pattern(glob: str) -> re.Pattern[str]:
    body = glob.strip("/").removeprefix("./")
    anchored = "/" in body or glob.startswith(("/", "./"))
    parts = [_part(part) for part in body.split("/")]
    text = "" if anchored else "(?:.*/)?"
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part is None:
            text += ".*" if last else "(?:.*/)?"
        else:
            text += part + ("" if last else "/")
    return re.compile(text + "(?:/.*)?", re.DOTALL)


def _part(part: str) -> str | None:
    """Translate what stands between two slashes; None for ``**``."""
    if part == "**":
        return None
    text = ""
    at = 0
    while at < len(part):
        char = part[at]
        end = part.find("]", at + 2) if char == "[" else -1
        if end > 0:
            inside = part[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            text += f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]"
            at = end
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        at += 1
    return text
