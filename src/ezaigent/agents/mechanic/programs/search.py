"""Program: searches a single edit that makes a check pass, on a copy of the tree; the tree itself is never touched.

A kill at any moment therefore leaves nothing to undo.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezaigent.agents.mechanic.programs.candidates import candidates
from ezaigent.agents.mechanic.programs.failure import Failure, read_failure
from ezaigent.agents.mechanic.programs.focus import Project
from ezaigent.agents.mechanic.programs.sources import Edit, unique_piece
from ezaigent.agents.mechanic.programs.tree import in_any

LEFT_OUT = shutil.ignore_patterns(
    ".git", "__pycache__", "node_modules", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".tox"
)
LARGEST = 512 * 1024**2
"""Bytes of a tree that is still copied."""
ROUNDS = 3
"""Edits that may be needed one after the other, each with fewer failing tests than before."""


@dataclass
class Ran:
    """One run of the check."""

    ok: bool
    output: str
    seconds: float


def main(arguments: dict[str, Any]) -> None:
    """Print what was found: ``edits``, what was ``tried``, and ``reason`` where nothing helped."""
    sys.stdout.write(json.dumps(search(Order(**arguments))) + "\n")


@dataclass
class Order:
    """What is wanted, within which bounds."""

    command: str
    tests: bool
    """Whether tests may be edited."""
    scope: list[str]
    excludes: list[str]
    most: int
    """Edits tried for one failure."""
    seconds: float


def search(order: Order) -> dict[str, Any]:
    """Copy the tree, run the check, and try edits until it passes or the bounds are met."""
    size = sum(file.stat().st_size for file in Path().rglob("*") if file.is_file() and ".git" not in file.parts)
    if size > LARGEST:
        return {
            "edits": [],
            "tried": [],
            "reason": f"the tree has {size // 1024**2} MiB, too much to try edits on a copy",
        }
    until = time.monotonic() + order.seconds
    with tempfile.TemporaryDirectory(prefix="mechanic-") as folder:
        root = str(Path(folder).resolve() / "tree")
        shutil.copytree(".", root, symlinks=True, ignore=LEFT_OUT)
        ran = run(order.command, root, order.seconds)
        tried: list[str] = []
        edits: list[dict[str, str]] = []
        for _ in range(ROUNDS):
            if ran.ok:
                break
            failure = read_failure(ran.output, root)
            found = attempt(order, root, failure, ran.seconds, tried, until)
            if found is None:
                return {"edits": [], "tried": tried, "reason": reason(failure, ran, tried)}
            edit, ran = found
            path = Path(root, edit.path)
            text = path.read_bytes().decode()
            old, new = unique_piece(text, edit.start, edit.end, edit.text)
            path.write_bytes((text[: edit.start] + edit.text + text[edit.end :]).encode())
            edits.append({"path": edit.path, "old": old, "new": new, "label": edit.label})
    if not ran.ok:
        return {"edits": [], "tried": tried, "reason": f"{len(edits)} edits mend a part, but the check still fails"}
    wait_for_a_new_second([edit["path"] for edit in edits])
    return {"edits": edits, "tried": tried, "reason": ""}


def attempt(  # noqa: PLR0917 - one caller
    order: Order, root: str, failure: Failure, usual: float, tried: list[str], until: float
) -> tuple[Edit, Ran] | None:
    """Return the first edit that makes the check pass, else the best that leaves fewer failing tests; else None."""
    project = Project.read(root, order.command)
    best: tuple[int, Edit, Ran] | None = None
    for edit in candidates(project, failure, tests=order.tests, most=order.most):
        if time.monotonic() > until:
            break
        if (order.scope and not in_any(edit.path, order.scope)) or in_any(edit.path, order.excludes):
            continue
        path = Path(root, edit.path)
        original = path.read_bytes()
        path.write_bytes(project.sources[edit.path].applied(edit).encode())
        ran = run(order.command, root, max(5.0, 4 * usual))
        path.write_bytes(original)
        tried.append(edit.label)
        if ran.ok:
            return edit, ran
        left = read_failure(ran.output, root).tests
        if left and left < failure.tests and (best is None or len(left) < best[0]):
            best = len(left), edit, ran
    return (best[1], best[2]) if best else None


def run(command: str, root: str, timeout: float) -> Ran:
    """Run the check in the copy; whatever it starts ends with it. Stale byte code must not hide an edit."""
    started = time.monotonic()
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = 124
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return Ran(code == 0, output.read(1024**2).decode("utf-8", "replace"), time.monotonic() - started)


def reason(failure: Failure, ran: Ran, tried: list[str]) -> str:
    """Say in one line why nothing was found."""
    last = next((f"{kind}: {text}" if text else kind for kind, text in reversed(failure.errors)), "")
    last = last or next((line.strip() for line in reversed(ran.output.splitlines()) if line.strip()), "no output")
    if tried:
        return f"{last[:160]}; none of {len(tried)} edits helped"
    if missing := re.search(r"No module named '?([\w.]+)", ran.output):
        return f"{missing[1]!r} is not installed here"
    return f"{last[:160]}; it points at no code of the repository that a small edit could mend"


def wait_for_a_new_second(paths: list[str]) -> None:
    """Byte code is told stale by whole seconds and size: an edit within the second of the last one could go unseen."""
    newest = max((int(Path(path).stat().st_mtime) for path in paths), default=0)
    while newest and int(time.time()) <= newest:
        time.sleep(0.05)
