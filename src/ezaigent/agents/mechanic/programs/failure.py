"""Reads what a failing check printed: Python tracebacks, pytest, unittest."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_FILE = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>\S+))?')
_PYTEST = re.compile(r"^(?P<path>[^\s:]+\.py):(?P<line>\d+): ?(?P<rest>in \S+|[\w.]*(?:Error|Exception|Warning)\b.*|)$")
_RAISED = re.compile(
    r"^(?:E\s+)?(?P<type>(?:\w+\.)*\w*(?:Error|Exception|Failed|Interrupt|StopIteration))(?:: (?P<text>.*))?$"
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (?P<id>\S+\.py\S*)(?: - .*)?$")
_UNITTEST = re.compile(r"^(?:FAIL|ERROR): (?P<id>\w+ \([\w.]+\))")
_ASSERTED = re.compile(
    r"^E\s+(?:AssertionError: )?assert (?P<left>.+?) (?P<op>==|!=|is not|is|<=|>=|<|>|not in|in) (?P<right>.+)$"
)
_UNEQUAL = re.compile(
    r"^(?:E\s+)?AssertionError: (?P<left>.+?) (?:!=|==|is not|not (?:less|greater) than(?: or equal to)?) "
    r"(?P<right>.+?)(?: : .*)?$"
)
_LINT = re.compile(r"^(?P<path>[^\s:]+\.py):(?P<line>\d+)(?::\d+)?:? (?P<text>.+)$")
_ARROW = re.compile(r"^\s*--> (?P<path>[^\s:]+\.py):(?P<line>\d+):\d+$")
_PLAIN = re.compile(
    r"(?:[\w ]+[:=] ?)?expected:? (?P<right>[^,;]+?),? (?:but )?(?:got|was|found|actual):? (?P<left>.+)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Frame:
    """One place of a traceback, below the root."""

    path: str
    line: int
    name: str = ""


@dataclass
class Failure:
    """What went wrong, as far as the output tells."""

    frames: list[Frame] = field(default_factory=list[Frame])
    """Places in the repository, innermost first."""
    errors: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Type and message of each exception, without a package in front."""
    values: list[tuple[object, object]] = field(default_factory=list[tuple[object, object]])
    """What a comparison got and what it wanted, where both are literals."""
    tests: set[str] = field(default_factory=set[str])
    """Names of the failing tests; empty where the check names none."""
    lints: dict[Frame, list[str]] = field(default_factory=dict[Frame, list[str]])
    """What a linter or type checker says about a place."""
    column: int | None = None
    """Column of a syntax error's mark, from 0."""
    marked: str = ""
    """The source line over that mark."""


def read_failure(output: str, root: str) -> Failure:
    """Read the output of a check that ran in ``root``."""
    failure = Failure()
    frames: list[Frame] = []
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output.splitlines()]
    for index, line in enumerate(lines):
        if found := _FILE.match(line) or _PYTEST.match(
            line.removeprefix("E ").strip() if line.startswith("E  ") else line
        ):
            path = _below(found["path"], root)
            if path:
                rest = found.groupdict().get("name") or (found.groupdict().get("rest") or "").removeprefix("in ")
                frames.append(Frame(path, int(found["line"]), rest if rest.isidentifier() else ""))
        elif found := _FAILED.match(line) or _UNITTEST.match(line):
            failure.tests.add(found["id"])
        elif (found := _ARROW.match(line)) and index and (path := _below(found["path"], root)):
            frame = Frame(path, int(found["line"]))
            frames.append(frame)
            failure.lints.setdefault(frame, []).append(lines[index - 1])
        elif (found := _LINT.match(line)) and (path := _below(found["path"], root)):
            frame = Frame(path, int(found["line"]))
            frames.append(frame)
            failure.lints.setdefault(frame, []).append(found["text"])
        mark = re.match(r"^(E?\s+)\^+\s*$", line)
        if mark and index:
            above = lines[index - 1]
            text = above.removeprefix("E").lstrip()
            failure.column, failure.marked = line.index("^") - (len(above) - len(text)), text
        _read_error(failure, line.strip() if not line.startswith("E ") else line)
    failure.frames = list(dict.fromkeys(reversed(frames)))
    return failure


def _read_error(failure: Failure, line: str) -> None:
    if found := _RAISED.match(line):
        error = (found["type"].rpartition(".")[2], found["text"] or "")
        if error not in failure.errors:
            failure.errors.append(error)
    for form in (_ASSERTED, _UNEQUAL, _PLAIN):
        found = form.match(line) if form is not _PLAIN else form.search(line)
        if found is not None:
            try:
                pair = ast.literal_eval(found["left"].strip()), ast.literal_eval(found["right"].strip().rstrip("."))
            except (ValueError, SyntaxError):
                continue
            if pair not in failure.values:
                failure.values.append(pair)
            return


def _below(path: str, root: str) -> str | None:
    """Return a path relative to the root, or None where it lies elsewhere or is not there."""
    full = os.path.normpath(os.path.join(root, path))  # noqa: PTH118 - nothing may be resolved: links stay names
    inside = Path(full).relative_to(root) if full.startswith(root + os.sep) else None
    if inside is None or {"site-packages", ".venv", "venv"} & set(inside.parts):
        return None
    return inside.as_posix() if Path(full).is_file() else None
