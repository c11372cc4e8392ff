"""The step that finds out which files a request means."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any, cast

from ezaigent.agents.mechanic import programs
from ezaigent.agents.mechanic.plan import Brief, Call, Limits, Result
from ezaigent.agents.mechanic.wording import Where
from ezaigent.core.errors import RunError

MOST_FILES = 2000
"""Files that one command line may name."""


def find_paths(where: Where, brief: Brief, limits: Limits) -> Generator[Call, Result, list[str]]:
    """Return the paths to work on, inside the task's scope; ``["."]`` where nothing narrows them down.

    Raises ``RunError`` where a named place is not there, or nothing is left.
    """
    excludes = [*where.excludes, *limits.excludes]
    if not (where.paths or excludes or brief.scope):
        return ["."]
    arguments: dict[str, Any] = {
        "places": list(where.paths),
        "bare": list(where.bare),
        "scope": list(brief.scope),
        "excludes": excludes,
    }
    program = programs.command("places", "tree", arguments=arguments)
    answer = read_json((yield Call("shell", {"command": program}, "Look up the files that the task names")))
    if answer["missing"]:
        raise RunError(f"the task names {answer['missing'][0]!r}, which is not in the repository", retryable=False)
    if answer["ambiguous"]:
        raise RunError(
            f"the task's place could be {' or '.join(answer['ambiguous'][0][:3])}; name one by its path",
            retryable=False,
        )
    paths = cast("list[str]", answer["paths"])
    if not paths:
        raise RunError("no Python file is left to work on inside the places and the scope of the task", retryable=False)
    if len(paths) > MOST_FILES:
        raise RunError(
            f"the task means {len(paths)} files one by one; name at most {MOST_FILES}, or whole folders",
            retryable=False,
        )
    return paths


def read_json(result: Result) -> dict[str, Any]:
    """Return the JSON object that a program printed on its own line, the last one.

    Raises ``RunError`` (another attempt may help) where there is none, with the last line of what it printed.
    """
    lines = result.text.strip().splitlines()
    for line in reversed(lines):
        if re.match(r"\{.*\}\s*$", line):
            try:
                return cast("dict[str, Any]", json.loads(line))
            except ValueError:
                continue
    told = next(
        (line for line in reversed(lines) if line.strip() and not line.startswith(("[exit", "exit code"))), "nothing"
    )
    raise RunError(f"a helper program gave no answer in the sandbox: {told.strip()[:200]}")
