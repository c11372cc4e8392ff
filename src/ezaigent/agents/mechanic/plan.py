"""What a recipe is: it recognises a request and turns it into steps, each chosen from the results so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ezaigent.agents.mechanic.clauses import Clause

_EXIT = re.compile(r"(?:\[[^\[\]]*\b)?exit(?:ed)?(?: with)?(?: code| status)?\s*[:=]?\s*(-?\d+)\.?\]?", re.IGNORECASE)
"""A line that says nothing but how the command ended: what a command prints may mention exit codes, too."""
_TIMED_OUT = re.compile(r"\btimed[ _-]?out\b|\btime limit\b|\bran out of time\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call that a recipe wants made."""

    tool: str
    arguments: dict[str, Any]
    why: str
    """One line for people who watch the run."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool call brought back."""

    text: str
    refused: bool = False
    """Whether the tool itself refused the call, as opposed to a command that ran and failed."""

    @property
    def exit_code(self) -> int:
        """The command's exit code: read from the last or the first line, 0 where none is named.

        A result that was cut by a time limit and names no code counts as 124.
        """
        lines = self.text.strip().splitlines()
        for line in (*lines[-1:], *lines[:1]):
            if found := _EXIT.fullmatch(line.strip()):
                return int(found[1])
        return 124 if any(_TIMED_OUT.search(line) for line in (*lines[:1], *lines[-1:])) else 0


Steps = Generator[Call, Result, str]
"""Yields calls, is sent their results, returns one sentence that says what was done. Raises ``RunError`` to give up.

It must depend on nothing but its inputs and the results: after a crash it is run again over the recorded results.
"""


@dataclass(frozen=True, slots=True)
class Brief:
    """What the task says beside its text."""

    checks: tuple[str, ...] = ()
    """Commands that must pass on the finished tree."""
    scope: tuple[str, ...] = ()
    """Globs of the files that may be changed; empty: all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rest of the request forbids."""

    excludes: tuple[str, ...] = ()
    """Paths and globs to leave alone."""
    forbidden: frozenset[str] = frozenset()
    """Names of recipes that the request rules out, such as ``format``."""
    tests_may_change: bool = False
    """Whether the request says that a test may be edited to make a check pass."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that a recipe understood."""

    recipe: str
    """Name of the recipe, one word."""
    steps: Callable[[Brief, Limits], Steps]
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the recipe read from the request; for people and tests."""


class Recipe(Protocol):
    """One kind of maintenance work."""

    @property
    def able(self) -> str:
        """What it can do, as the end of the sentence "the mechanic can …"."""
        ...

    def match(self, clause: Clause, brief: Brief) -> Plan | None:
        """Return a plan where the whole clause is understood, else None."""
        ...
