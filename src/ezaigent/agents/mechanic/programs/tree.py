"""The files of the work tree, as globs name them."""

from __future__ import annotations

import os
import re
from pathlib import Path

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "venv", "env"})


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Compile a glob: ``*`` stays within a folder, ``**`` does not, a folder's name stands for all below it."""
    glob = glob.strip().removeprefix("./").rstrip("/") or "."
    if glob == ".":
        return re.compile(".*")
    out = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\]|\{[^}]*\})", glob):
        if piece == "**/":
            out += "(?:.*/)?"
        elif piece == "**":
            out += ".*"
        elif piece == "*":
            out += "[^/]*"
        elif piece == "?":
            out += "[^/]"
        elif piece.startswith("[") and piece.endswith("]"):
            out += piece.replace("[!", "[^")
        elif piece.startswith("{") and piece.endswith("}"):
            out += "(?:" + "|".join(re.escape(choice) for choice in piece[1:-1].split(",")) + ")"
        else:
            out += re.escape(piece)
    return re.compile(out + "(?:/.*)?")


def in_any(path: str, globs: list[str]) -> bool:
    """Whether a path relative to the root is named by one of the globs."""
    return any(glob_pattern(glob).fullmatch(path) for glob in globs)


def files_below(root: str, *, endings: tuple[str, ...] = (".py", ".pyi")) -> list[str]:
    """Return the files with these endings, sorted, relative to ``root``; hidden and foreign folders are skipped."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _is_own(here / name))
        found += [
            (here / name).relative_to(root).as_posix()
            for name in names
            if name.endswith(endings) and not (here / name).is_symlink()
        ]
    return sorted(found)


def _is_own(folder: Path) -> bool:
    """Whether a folder may hold the project's own code."""
    skipped = folder.name.startswith(".") or folder.name in SKIPPED
    return not skipped and not folder.is_symlink() and not (folder / "pyvenv.cfg").exists()


def find_place(place: str) -> list[str]:
    """Return what a place stands for: a path, the files of a glob, or a package by its name.

    There are several where only folders deep in the tree have a plain name, and more than one does.
    """
    plain = place.removeprefix("./").rstrip("/") or "."
    if any(mark in plain for mark in "*?[{"):
        return [path for path in files_below(".") if in_any(path, [plain])]
    dotted = plain.replace(".", "/")
    named = (plain, f"src/{plain}", dotted, f"src/{dotted}", f"{dotted}.py", f"src/{dotted}.py")
    hits = [path for path in named if path and Path(path).exists()]
    return hits[:1] or [path for path in files_below(".") if path.endswith(f"/{plain}")][:1] or _folders(plain)


def _folders(name: str) -> list[str]:
    """Return the folders of this name that hold code, sorted; those inside another one are left out."""
    ends = {f"{path.partition(f'/{name}/')[0]}/{name}" for path in files_below(".") if f"/{name}/" in path}
    return sorted(ends)


def module_names(path: str, root: str = ".") -> list[str]:
    """Return the names that a file can be imported by: from the folder above its packages, and from the root."""
    parts = path.removesuffix(".pyi").removesuffix(".py").split("/")
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
        top = len(parts) - 1
    else:
        top = len(parts) - 1
    while top and Path(root, *parts[:top], "__init__.py").exists():
        top -= 1
    names = [".".join(parts[top:]), ".".join(parts)]
    if parts[0] in {"src", "lib"} and len(parts) > 1:
        names.append(".".join(parts[1:]))
    return list(dict.fromkeys(names))
