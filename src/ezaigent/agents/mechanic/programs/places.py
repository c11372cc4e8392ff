"""Program: which files and folders a request means by the places that it names."""

from __future__ import annotations

import json
import sys
from typing import Any

from ezaigent.agents.mechanic.programs.tree import files_below, find_place, in_any


def main(arguments: dict[str, Any]) -> None:
    """Print ``paths`` to work on and ``missing`` places; every file is listed where a scope or exception cuts them."""
    scope, excludes = arguments["scope"], arguments["excludes"]
    paths: list[str] = []
    missing: list[str] = []
    for place in arguments["places"]:
        hits = find_place(place)
        paths.extend(hits)
        missing.extend([] if hits else [place])
    if scope or excludes or not paths:
        inside = [*paths] or ["."]
        paths = [
            path
            for path in files_below(".")
            if in_any(path, inside) and (not scope or in_any(path, scope)) and not in_any(path, excludes)
        ]
    sys.stdout.write(json.dumps({"paths": list(dict.fromkeys(paths)), "missing": missing}) + "\n")
