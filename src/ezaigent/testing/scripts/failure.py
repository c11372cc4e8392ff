"""Reads what a failing check says: did it pass, how many failed, which places does it name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

import orjson

_EXIT = re.compile(r"exit(?:ed)?[ _-]?(?:with )?(?:code|status)[\"']?\s*[:=]?\s*(-?\d+)", re.IGNORECASE)
_TRACE = re.compile(r'File "([^"\n]+)", line (\d+)')
_PLACE = re.compile(r"^\W{0,4}([\w./\\-]+\.\w+):(\d+)", re.MULTILINE)
_COUNT = re.compile(r"\b(\d+) (?:failed|errors?|failures)\b|(?:failures|errors)=(\d+)|Found (\d+) errors?")
_FOREIGN = ("site-packages", "dist-packages", "/lib/python", "<frozen", "<string>")
_STAGES = (
    ("SyntaxError", "IndentationError", "invalid-syntax"),
    ("ImportError", "ModuleNotFoundError"),
    ("NameError", "AttributeError", "TypeError"),
)
"""Errors by how early they stop a program: whoever gets past one has made progress."""
_COMMAND = re.compile(
    r"^(\./|python[\d.]*\b|pytest\b|make\b|ruff\b|mypy\b|pyright\b|uv\b|tox\b|nox\b|npm\b|npx\b|node\b|cargo\b|go\b"
    r"|sh\b|bash\b|git\b|test\b|grep\b|!|\w+=\S+ )"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A line that a failure names."""

    path: str
    line: int


def passed(output: str) -> bool:
    """Say whether a command's result tells of success: by its exit code, else by the absence of bad words."""
    codes = _EXIT.findall(output)
    if codes:
        return int(codes[-1]) == 0
    return not re.search(r"\b(FAILED|Traceback|[A-Z]\w*Error\b|error:|\d+ failed)", output)


def unwrapped(result: str) -> str:
    """Return a tool's result as text, where the tool answered with a JSON object such as output and exit code."""
    if not result.startswith("{"):
        return result
    try:
        found = orjson.loads(result)
    except orjson.JSONDecodeError:
        return result
    return "\n".join(value if isinstance(value, str) else f"{name}: {value}" for name, value in found.items())


def severity(output: str) -> tuple[int, int]:
    """Return how bad a failure is: how early the code breaks, then how many failures were counted (1 if not at all)."""
    stage = next((len(_STAGES) - i for i, names in enumerate(_STAGES) if any(name in output for name in names)), 0)
    numbers = [int(number) for found in _COUNT.findall(output) for number in found if number]
    return stage, max(numbers, default=1)


def places(output: str, files: Collection[str]) -> list[Place]:
    """Return the lines that a failure names in the repository's own files, the innermost first."""
    found: list[tuple[int, Place]] = []
    for pattern in (_TRACE, _PLACE):
        for match in pattern.finditer(output):
            path = own_path(match[1], files)
            if path is not None:
                found.append((match.start(), Place(path, int(match[2]))))
    found.sort(key=lambda item: -item[0])
    return list(dict.fromkeys(place for _, place in found))


def own_path(path: str, files: Collection[str]) -> str | None:
    """Return the repository's name for a path in a message; None for other people's files."""
    if any(part in path for part in _FOREIGN):
        return None
    parts = PurePosixPath(path.replace("\\", "/")).parts
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        if tail in files:
            return tail
    return path if not files and not path.startswith("/") else None


def check_command(prompt: str) -> str | None:
    """Return the commands that a prompt asks to succeed, joined; None when it names none.

    Commands stand in backticks, after a ``$``, or on a line of their own after "check:".
    """
    quoted = re.findall(r"`([^`\n]+)`", prompt)
    shown = re.findall(r"^\s*(?:\$|[Cc]heck(?:s|ed by)?:)\s*([^`\n]+)$", prompt, re.MULTILINE)
    commands = [text.strip() for text in (*quoted, *shown) if _COMMAND.match(text.strip())]
    return " && ".join(dict.fromkeys(commands)) or None
