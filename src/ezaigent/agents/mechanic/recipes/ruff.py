"""Lint fixes, import order, modern syntax and formatting: what ruff can do by itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from ezaigent.agents.mechanic.clauses import Clause
from ezaigent.agents.mechanic.places import MOST_FILES, find_paths
from ezaigent.agents.mechanic.plan import Brief, Call, Limits, Plan, Result, Steps
from ezaigent.agents.mechanic.recipes.ruff_wording import FORMAT, GIVEN, LINT, MODERN, NAMED, SELECTED
from ezaigent.agents.mechanic.wording import Where, understood, where
from ezaigent.core.errors import RunError

_MINORS = range(7, 16)
"""Minor versions of Python 3 that ruff can target."""
_TIMES = "\N{MULTIPLICATION SIGN}"
_CHANGED = re.compile(r"^- (\S.*):$", re.MULTILINE)
_QUOTED = 3
"""Findings that are told in full."""


class RuffRecipe:
    """Fixes what ruff can fix, by the repository's own configuration."""

    able = "fix lint errors, remove unused imports, sort imports, format, modernise syntax"

    def match(self, clause: Clause, brief: Brief) -> Plan | None:  # noqa: ARG002 - the interface of all recipes
        """Return a plan where the clause asks for lint fixes or formatting."""
        if found := understood(LINT, clause):
            return _fixes(where(clause, found, "object"), (), "lint")
        if found := understood(FORMAT, clause):
            return _formats(where(clause, found, "object"))
        for rules in SELECTED:
            if found := understood(rules.form, clause):
                return _fixes(where(clause, found), rules.select, "lint", unsafe=rules.unsafe)
        return _modernises(clause) or _named(clause) or _given(clause)


def _modernises(clause: Clause) -> Plan | None:
    found = understood(MODERN, clause)
    if found is None:
        return None
    version = found["version"] or found["version2"]
    return _fixes(where(clause, found), ("UP",), "modernise", version=version, tidy=("UP", "F401"))


def _named(clause: Clause) -> Plan | None:
    found = understood(NAMED, clause)
    codes = re.split(r"[,\s]+(?:and\s+)?", clause.restore(found["codes"])) if found else []
    # A lone letter with one or two digits is more often a ticket or a paper size than a rule.
    if found is None or not all(re.fullmatch(r"[A-Z]{1,6}\d{3,4}", code) for code in codes):
        return None
    return _fixes(where(clause, found), tuple(codes), "lint")


def _given(clause: Clause) -> Plan | None:
    """A ruff command line that the person wrote out is run as it stands."""
    found = understood(GIVEN, clause)
    text = clause.restore(found["given"]) if found else ""
    if not re.fullmatch(r"ruff (?:check|format)(?: [\w./*=,:-]+)*", text):
        return None
    kind = "format" if text.startswith("ruff format") else "lint"
    words = [*shlex.split(text), "--no-cache"]

    def steps(brief: Brief, limits: Limits) -> Steps:
        del brief, limits
        return tell(kind, (yield Call("shell", {"command": shlex.join(words)}, f"Run {text}")))

    return Plan("format" if kind == "format" else "lint", steps, {"command": text})


def _fixes(
    places: Where,
    select: Sequence[str],
    name: str,
    *,
    version: str | None = None,
    unsafe: bool = False,
    tidy: Sequence[str] = (),
) -> Plan:
    """Plan one fix; ``tidy`` names rules that are run after it over just the files that it changed."""

    def steps(brief: Brief, limits: Limits) -> Steps:
        if version and int(version.partition(".")[2]) not in _MINORS:
            span = f"3.{_MINORS[0]} to 3.{_MINORS[-1]}"
            raise RunError(f"ruff does not know Python {version}; name a version from {span}", retryable=False)
        paths = yield from find_paths(places, brief, limits)
        words = fix_command(paths, select, version=version, unsafe=unsafe)
        what = f"Fix {', '.join(select)}" if select else "Fix what ruff can fix by itself"
        fixed = yield Call("shell", {"command": shlex.join(words)}, what)
        sentence = tell("lint", fixed)
        changed = _CHANGED.findall(fixed.text)
        if not tidy or not changed or len(changed) > MOST_FILES:
            return sentence
        words = fix_command(changed, tidy, version=version, unsafe=unsafe)
        tidied = yield Call("shell", {"command": shlex.join(words)}, "Drop the imports that this left unused")
        if tidied.refused or tidied.exit_code not in {0, 1}:
            return sentence
        # What the first run left in these files is as the second run found it.
        seen = [line for line in fixed.text.splitlines() if line.partition(":")[0] not in changed]
        return tell("lint", Result("\n".join([*seen, tidied.text]), refused=False))

    return Plan(name, steps, {"select": list(select), "paths": list(places.paths), "version": version})


def _formats(places: Where) -> Plan:
    def steps(brief: Brief, limits: Limits) -> Steps:
        paths = yield from find_paths(places, brief, limits)
        words = ["ruff", "format", "--no-cache", "--", *paths]
        return tell("format", (yield Call("shell", {"command": shlex.join(words)}, "Format with ruff")))

    return Plan("format", steps, {"paths": list(places.paths)})


def fix_command(
    paths: Sequence[str], select: Sequence[str] = (), *, version: str | None = None, unsafe: bool = False
) -> list[str]:
    """Return the words of a ``ruff check --fix``; without ``select`` the repository's configuration decides."""
    words = ["ruff", "check", "--fix", "--show-fixes", "--no-cache", "--output-format", "concise"]
    words += ["--select", ",".join(select)] if select else []
    words += ["--target-version", "py" + version.replace(".", "")] if version else []
    words += ["--unsafe-fixes"] if unsafe else []
    return [*words, "--", *paths]


def tell(kind: str, result: Result) -> str:
    """Return one sentence about what ruff changed and what remains; ``RunError`` where it could not work at all."""
    lines = result.text.splitlines()
    if result.refused or result.exit_code not in {0, 1}:
        told = next(
            (
                line
                for line in lines
                if re.match(r"(?:error|ruff failed|.*\bfailed\b|.*not found)", line, re.IGNORECASE)
            ),
            result.text.strip()[:200],
        )
        raise RunError(f"ruff could not do it: {told.strip()[:300]}", retryable=False)
    if kind == "format":
        changed = next((found[1] for line in lines if (found := re.match(r"(\d+) files? reformatted", line))), "0")
        return f"Formatted {_count(int(changed), 'file')}." if changed != "0" else "Every file was formatted already."
    fixes = re.findall(rf"^\s+(\d+) {_TIMES} (\S+)", result.text, re.MULTILINE)
    total: dict[str, int] = {}
    for number, code in fixes:
        total[code] = total.get(code, 0) + int(number)
    left = [line for line in lines if re.match(r"\S.*?:\d+:\d+: \S", line)]
    done = (
        "Fixed " + ", ".join(f"{number} {_TIMES} {code}" for code, number in total.items())
        if total
        else "Nothing to fix by itself"
    )
    more = " …" if len(left) > _QUOTED else ""
    rest = f"; {_count(len(left), 'finding')} left: {'; '.join(left[:_QUOTED])}{more}" if left else ""
    return f"{done}{rest}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
