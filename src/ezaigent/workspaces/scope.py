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
            text += _class(part[at + 1 : end])
            at = end
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        at += 1
    return text


def _class(inside: str) -> str:
    """Translate what stands in brackets: one character, never a slash; a range that runs backwards holds none."""
    negated = inside[0] in "!^"
    body = inside[1:] if negated else inside
    ranges: list[str] = []
    at = 0
    while at < len(body):
        is_range = at + 2 < len(body) and body[at + 1] == "-"
        low, high = body[at], body[at + 2 if is_range else at]
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        at += 3 if is_range else 1
    wanted = f"[{''.join(ranges)}]" if ranges else "(?!)"
    return f"(?!{wanted})[^/]" if negated else f"(?!/){wanted}"
