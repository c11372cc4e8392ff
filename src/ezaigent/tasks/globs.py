"""Whether two globs can mean the same file, which is so when some path is matched by both.

Globs are read as the scope of a change is: ``*``, ``?`` and ``[…]`` stay within one name, ``**`` goes through any
number of folders, a glob that names a folder covers all below it, and one without a slash counts in every folder. Only
a last name that is plainly a file's (``cart.py``) is not taken for a folder's, too: else ``README.md`` in every folder
would meet ``cart.py``, below a folder of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

Chars: TypeAlias = tuple[tuple[int, int], ...]
"""The characters that may stand at one place: ranges of code points in order, without the slash."""
Name: TypeAlias = tuple[Chars | None, ...]
"""What one name between slashes may be; None for any number of any characters."""
Path: TypeAlias = tuple[Name | None, ...]
"""What a path may be; None for any number of names."""

_LAST: Final = 0x10FFFF
_SLASH: Final = ord("/")
_ANY: Final[Chars] = ((0, _SLASH - 1), (_SLASH + 1, _LAST))
_ENDINGS: Final = """
adoc bash bat c cc cfg cjs clj cmake conf cpp cs css csv cts cxx dart elm erl ex exs fish fs go gql gradle
graphql groovy h hbs hcl hpp hs htm html hxx ico ini ipynb java jl jpeg jpg js json json5 jsonc jsx kt kts
less lock lua m make markdown md mdx mjs ml mli mm mod mts nim nix patch php pl png po pro properties proto
ps1 pxd py pyi pyx r rake rb rs rst sass scala scss sh sln snap sql sum svelte svg swift tcl tex tf tfvars
toml ts tsv tsx txt v vb vue wasm webp xml xsd yaml yml zig zsh
"""
NAMED: Final = re.compile(
    r"(?<![\w/.-])(?:CODEOWNERS|Containerfile|Dockerfile|Gemfile|Jenkinsfile|Makefile|Procfile)(?![\w/-])"
)
"""File names that are known without an ending."""
_FILES: Final = frozenset(_ENDINGS.split())
_FILE: Final = re.compile(r".*[^./]\.([A-Za-z0-9]+)")


def is_file(name: str) -> bool:
    """Return whether a name, which may hold wildcards, is plainly that of a file: by its ending, or as a whole."""
    found = _FILE.fullmatch(name)
    return (found is not None and found[1].lower() in _FILES) or NAMED.fullmatch(name) is not None


@lru_cache(maxsize=65_536)
def meet(one: str, other: str) -> bool:
    """Return whether some path is matched by both globs."""
    if one == other:
        return bool(parse(one))
    return _paths_meet(parse(one), parse(other))


def common(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, str] | None:
    """Return the first glob of each side that can mean the same file; None when no two of them can."""
    return next(((one, other) for one in ours for other in theirs if meet(one, other)), None)


@lru_cache(maxsize=16_384)
def parse(glob: str) -> Path:
    """Return what the glob matches, the files below a folder included; an empty one when it can match nothing."""
    body = glob.strip("/").removeprefix("./")
    anchored = "/" in body or glob.startswith(("/", "./"))
    parts: list[Name | None] = [] if anchored else [None]
    parts += [None if part == "**" else tuple(_name(part)) for part in body.split("/")]
    if any(part is not None and (not part or () in part) for part in parts):
        return ()
    if parts[-1] is None:  # what ends in /** matches what is below, and not the folder's own name
        parts.append((_ANY, None))
    return tuple(parts) if is_file(body.rpartition("/")[2]) else (*parts, None)


def _name(part: str) -> Iterator[Chars | None]:
    at = 0
    while at < len(part):
        char = part[at]
        end = part.find("]", at + 2) if char == "[" else -1
        if end > 0:
            yield _class(part[at + 1 : end])
            at = end
        elif char == "*":
            yield None
        else:
            yield _ANY if char == "?" else ((ord(char), ord(char)),)
        at += 1


def _class(inside: str) -> Chars:
    negated = inside[0] in "!^"
    body = inside[1:] if negated else inside
    ranges: list[tuple[int, int]] = []
    at = 0
    while at < len(body):
        is_range = at + 2 < len(body) and body[at + 1] == "-"
        ranges.append((ord(body[at]), ord(body[at + 2 if is_range else at])))
        at += 3 if is_range else 1
    wanted = _without(ranges) if negated else tuple(sorted(one for one in ranges if one[0] <= one[1]))
    return _both(wanted, _ANY)


def _without(ranges: Sequence[tuple[int, int]]) -> Chars:
    left: list[tuple[int, int]] = []
    start = 0
    for low, high in sorted(ranges):
        if low > start:
            left.append((start, low - 1))
        start = max(start, high + 1)
    return (*left, *([(start, _LAST)] if start <= _LAST else []))


def _both(one: Chars, other: Chars) -> Chars:
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in one for b in other)
    return tuple(pair for pair in pairs if pair[0] <= pair[1])


def _paths_meet(one: Path, other: Path) -> bool:
    """Walk both patterns name by name; a row holds, for each place in ``other``, whether the two rests can meet."""
    below = [False] * (len(other) + 1)
    for i in range(len(one), -1, -1):
        row = [False] * (len(other) + 1)
        for j in range(len(other), -1, -1):
            mine = one[i] if i < len(one) else ()
            theirs = other[j] if j < len(other) else ()
            if i == len(one) and j == len(other):
                row[j] = True
            elif i < len(one) and mine is None:
                row[j] = below[j] or (j < len(other) and row[j + 1])
            elif j < len(other) and theirs is None:
                row[j] = row[j + 1] or (i < len(one) and below[j])
            elif i < len(one) and j < len(other) and mine is not None and theirs is not None:
                row[j] = below[j + 1] and _names_meet(mine, theirs)
        below = row
    return below[0]


def _names_meet(one: Name, other: Name) -> bool:
    below = [False] * (len(other) + 1)
    for i in range(len(one), -1, -1):
        row = [False] * (len(other) + 1)
        for j in range(len(other), -1, -1):
            if i == len(one) and j == len(other):
                row[j] = True
            elif i < len(one) and (mine := one[i]) is None:
                row[j] = below[j] or (j < len(other) and row[j + 1])
            elif j < len(other) and other[j] is None:
                row[j] = row[j + 1] or (i < len(one) and below[j])
            elif i < len(one) and j < len(other):
                mine, theirs = one[i], other[j]
                row[j] = below[j + 1] and mine is not None and theirs is not None and bool(_both(mine, theirs))
        below = row
    return below[0]
