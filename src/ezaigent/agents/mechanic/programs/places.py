"""Program: which files and folders a request means by the places that it names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ezaigent.agents.mechanic.programs.tree import files_below, find_place, in_any


def main(arguments: dict[str, Any]) -> None:
    """Print ``paths`` to work on and ``missing`` places; every file is listed where a scope or exception cuts them."""
    scope = arguments["scope"]
    excludes = [path for place in arguments["excludes"] for path in (find_place(place) or [place])]
    paths: list[str] = []
    missing: list[str] = []
    ambiguous: list[list[str]] = []
    for place in arguments["places"]:
        hits = find_place(place)
        if place in arguments["bare"]:  # a name like README is no place to look for code
            hits = [path for path in hits if Path(path).is_dir() or path.endswith(".py")]
            ambiguous.extend([hits] if len(hits) > 1 else [])
        paths.extend(hits)
        missing.extend([] if hits else [place])
    if scope or excludes or not paths:
        inside = [*paths] or ["."]
        paths = [
            path
            for path in files_below(".")
            if in_any(path, inside) and (not scope or in_any(path, scope)) and not in_any(path, excludes)
        ]
    answer = {"paths": list(dict.fromkeys(paths)), "missing": missing, "ambiguous": ambiguous}
    sys.stdout.write(json.dumps(answer) + "\n")
