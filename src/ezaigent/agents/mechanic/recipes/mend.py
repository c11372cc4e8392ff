"""Makes a failing check pass: tidy what ruff can, else search the few edits that the failure points at.

The search itself runs as one program on a copy of the tree. Only its finding is applied, as ordinary edits, and the
check is run once more on the tree itself; where it does not hold there, the edits are taken back.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Sequence
from typing import Any, cast

from ezaigent.agents.mechanic import programs
from ezaigent.agents.mechanic.clauses import Clause
from ezaigent.agents.mechanic.places import find_paths, read_json
from ezaigent.agents.mechanic.plan import Brief, Call, Limits, Plan, Result, Steps
from ezaigent.agents.mechanic.recipes.mend_wording import commands
from ezaigent.agents.mechanic.recipes.ruff import fix_command, tell
from ezaigent.agents.mechanic.wording import Where
from ezaigent.core.errors import RunError

MOST = 60
"""Edits tried for one failure."""
SECONDS = 240.0
"""Seconds that a search may take."""
_TIDYINGS = 4
"""Times that ruff may be asked again: one fix uncovers the next, and a chain of checks stops at its first failure."""
_TOLD = 4
"""Edits that a failure names; the rest is counted."""
PARTS = ("tree", "sources", "failure", "focus", "hints", "mutations", "slips", "names", "calls", "candidates")
_CONCISE = re.compile(r"^(?P<path>[^\s:]+\.pyi?):\d+:\d+: (?P<code>[A-Z]{1,6}\d{3,4})\b", re.MULTILINE)
_FULL = re.compile(r"^(?P<code>[A-Z]{1,6}\d{3,4}) .*\n\s*--> (?P<path>[^\s:]+\.pyi?):\d+:\d+", re.MULTILINE)
_UNFORMATTED = re.compile(
    r"^(?:[Ww]ould reformat:? (?P<path>\S+)$|unformatted: .*\n\s*--> (?P<full>[^\s:]+):\d+:\d+"
    r"|(?P<concise>[^\s:]+):\d+:\d+: unformatted: )",
    re.MULTILINE,
)
"""As ruff has said it over the years."""

Work = Generator[Call, Result, Any]


class MendRecipe:
    """Makes failing checks pass by a small edit."""

    able = "make a failing check pass by a small edit"

    def match(self, clause: Clause, brief: Brief) -> Plan | None:
        """Return a plan where the clause asks for a passing check."""
        wanted = commands(clause, brief)
        if wanted is None:
            return None
        return Plan("check", lambda brief, limits: mend(wanted, brief, limits), {"commands": list(wanted)})


def mend(wanted: Sequence[str], brief: Brief, limits: Limits) -> Steps:
    """Run each command; where one fails, mend it; where that changed something, run them all again."""
    told: list[str] = []
    edits: list[dict[str, str]] = []
    for command in wanted:
        sentence = yield from _mend_one(command, brief, limits, edits)
        told.append(sentence)
    for command in wanted if edits and len(wanted) > 1 else ():
        result = yield from _check(command)
        if result.exit_code:
            yield from _take_back(edits)
            raise RunError(f"what makes one check pass lets {command!r} fail; nothing was changed", retryable=False)
    return " ".join(told)


def _mend_one(command: str, brief: Brief, limits: Limits, edits: list[dict[str, str]]) -> Steps:
    result = yield from _check(command)
    if not result.exit_code:
        return f"{command} passes."
    done: list[str] = []
    for round_ in range(_TIDYINGS):
        # What ruff would not fix by itself is fixed in the second round: the check leaves no other way.
        tidied = yield from _tidy(result, brief, limits, unsafe=round_ > 0)
        if not tidied:
            break
        done += tidied
        before, result = result, (yield from _check(command))
        if not result.exit_code:
            return f"{' '.join(done)} {command} passes now."
        if round_ and result.text == before.text:
            break
    found = yield from _search(command, brief, limits)
    for edit in found:
        applied = yield Call("edit_file", _edit(edit["path"], edit["old"], edit["new"]), f"Apply {edit['label']}")
        if applied.refused:
            yield from _take_back(edits)
            raise RunError(f"{edit['label']} would help but was refused: {applied.text.strip()[:200]}", retryable=False)
        edits.append(edit)
    result = yield from _check(command)
    if result.exit_code:
        yield from _take_back(edits)
        raise RunError(
            f"{command!r} passes on a copy of the tree but not in it; it depends on more than the files",
            retryable=False,
        )
    return " ".join([*done, f"{command} failed; {'; '.join(edit['label'] for edit in found)}; it passes now."])


def _check(command: str) -> Work:
    result = yield Call("shell", {"command": command}, f"Run {command}")
    if result.refused or result.exit_code in {126, 127}:
        last = next(
            (line for line in reversed(result.text.splitlines()) if "exit code" not in line and line.strip()), ""
        )
        raise RunError(f"{command!r} cannot be run here: {last.strip()[:200]}", retryable=False)
    return result


def _tidy(result: Result, brief: Brief, limits: Limits, *, unsafe: bool) -> Work:
    """Let ruff mend what it reported by itself; return what was done, nothing where it reported nothing."""
    hits = [(found["path"], found["code"]) for form in (_CONCISE, _FULL) for found in form.finditer(result.text)]
    done: list[str] = []
    if hits:
        paths = yield from find_paths(Where(tuple(dict.fromkeys(path for path, _ in hits))), brief, limits)
        codes = sorted({code for _, code in hits})
        why = f"Fix {', '.join(codes)}"
        fixed = yield Call("shell", {"command": shlex.join(fix_command(paths, codes, unsafe=unsafe))}, why)
        done.append(tell("lint", fixed))
    unformatted = tuple(
        dict.fromkeys(next(filter(None, found.groups())) for found in _UNFORMATTED.finditer(result.text))
    )
    if unformatted:
        paths = yield from find_paths(Where(unformatted), brief, limits)
        words = ["ruff", "format", "--no-cache", "--", *paths]
        done.append(tell("format", (yield Call("shell", {"command": shlex.join(words)}, "Format what is not"))))
    return done


def _search(command: str, brief: Brief, limits: Limits) -> Work:
    arguments: dict[str, Any] = {
        "command": command,
        "tests": limits.tests_may_change,
        "scope": list(brief.scope),
        "excludes": list(limits.excludes),
        "most": MOST,
        "seconds": SECONDS,
    }
    program = programs.command("search", *PARTS, arguments=arguments)
    why = f"Try up to {MOST} small edits on a copy of the tree until {command} passes"
    answer = read_json((yield Call("shell", {"command": program, "timeout": 2 * SECONDS}, why)))
    found = cast("list[dict[str, str]]", answer["edits"])
    if found:
        return found
    tried = cast("list[str]", answer["tried"])
    more = f"; and {len(tried) - _TOLD} more" if len(tried) > _TOLD else ""
    list_of = f" (tried: {'; '.join(tried[:_TOLD])}{more})" if tried else ""
    reason = answer["reason"] or "it passes on a copy of the tree, so it depends on more than the files"
    raise RunError(f"{command!r} still fails: {reason}{list_of}", retryable=False)


def _take_back(edits: list[dict[str, str]]) -> Work:
    """Undo edits, last first."""
    for edit in reversed(edits):
        yield Call("edit_file", _edit(edit["path"], edit["new"], edit["old"]), f"Take back {edit['label']}")
    edits.clear()


def _edit(path: str, old: str, new: str) -> dict[str, Any]:
    return {"path": path, "old_text": old, "new_text": new}
