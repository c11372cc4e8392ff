"""The wordings that ask for a passing check, and the command that they mean."""

from __future__ import annotations

import re

from ezaigent.agents.mechanic.clauses import Clause
from ezaigent.agents.mechanic.plan import Brief
from ezaigent.agents.mechanic.wording import QUANTITY, QUOTED, Where, pattern, understood, where

_TESTS = (
    r"(?:(?:unit|failing|failed|broken|red|whole|entire|full|python|task's|following)\s+)*"
    r"(?:test ?suite|tests?|unittests?|checks?|build|suite|pytest|them|it)"
)
_BAD = r"(?:failing|failed|broken|red)"
_COMMAND = rf"(?:(?:the\s+)?(?:command|check|test)\s+)?(?P<cmd{{n}}>{QUOTED})"
_GREEN = (
    r"(?:to\s+)?(?:pass(?:es|ing)?|(?:be\s+|is\s+|are\s+|turn\s+)?green|succeeds?|work(?:s|ing)?(?!\s+on)|"
    r"run through|exit with 0)"
)
_FIX = r"(?:fix(?: up)?|repair|mend|solve|correct|resolve)"
_TROUBLE = r"(?:bug|errors?|failures?|problem|regression|exception|crash|traceback|\w+(?:Error|Exception))"
_LEFT = r"(?:\s+(?:still|again))?"

FORM = pattern(
    rf"(?:make|get|bring)\s+{QUANTITY}(?:{_TESTS}(?:\s+{_COMMAND.format(n=1)})?|{_COMMAND.format(n=2)}){_LEFT}\s+{_GREEN}"
    rf"|(?:make sure|ensure|verify|see to it|check)\s+(?:that\s+)?{QUANTITY}"
    rf"(?:{_TESTS}|{_COMMAND.format(n=3)}){_LEFT}\s+{_GREEN}"
    rf"|{_FIX}\s+{QUANTITY}(?:{_BAD}\s+)+(?:python\s+)?(?:unit\s+)?"
    rf"(?:tests?|test ?suite|suite|checks?|build|assertions?)(?:\s+{_COMMAND.format(n=4)})?"
    rf"|{_FIX}\s+{QUANTITY}(?:unit\s+)?(?:tests|test ?suite|build)"
    rf"|{_FIX}\s+{QUANTITY}{_TROUBLE}\s+(?:that|which)\s+(?:makes|causes|lets|breaks)\s+{QUANTITY}"
    rf"(?:{_TESTS}|{_COMMAND.format(n=5)})(?:\s+(?:to\s+)?(?:fail|failing|break|crash))?"
    rf"|{_FIX}\s+{QUANTITY}{_TROUBLE}\s+(?:in|of|when running|from|reported by|shown by)\s+{_COMMAND.format(n=6)}"
    rf"|(?:find out|see|check|investigate)\s+why\s+{QUANTITY}(?:{_TESTS}|{_COMMAND.format(n=7)})\s+"
    r"(?:fails?|breaks?|is failing|are failing)\s+"
    r"and\s+(?:fix|mend|repair)\s+(?:it|that|them|this)"
)
_WITH_CHECKS = pattern(r"(?:fix|repair|mend)\s+(?:it|this|(?:the|this)\s+(?:bug|failure|regression))")
"""Too vague by itself; where the task brings a failing check, that check says what is meant."""
_RUNS = re.compile(
    r"(?:[A-Z_]+=\S+\s+)*(?:python3?(?:\.\d+)?|pytest|py\.test|ruff|make|tox|nox|mypy|pyright|flake8|sh|bash|coverage|unittest|"
    r"uv|hatch|pdm|poetry|\./\S+)(?:\s|$)"
)
_TEST_FILE = re.compile(r"(?:[\w./-]*/)?(?:test_\w+|\w+_test)\.py(?:::[\w\[\]:.-]+)*|tests?/[\w./-]*")
DEFAULT = "python3 -m pytest -q"
"""What "the tests" means where the task has no check."""


def commands(clause: Clause, brief: Brief) -> tuple[str, ...] | None:
    """Return the commands that a clause wants to pass, or None where it asks for something else."""
    if brief.checks and understood(_WITH_CHECKS, clause):
        return brief.checks
    found = FORM.fullmatch(clause.text)
    if found is None or len(clause.text) > 400:  # noqa: PLR2004 - see wording
        return None
    quoted = next((clause.restore(found[f"cmd{n}"]) for n in range(1, 8) if found[f"cmd{n}"]), None)
    if quoted is not None:
        command = _command(quoted)
        return (command,) if command else None
    named = understood(FORM, clause)
    return _named(clause, where(clause, named), brief) if named else None


def _named(clause: Clause, spots: Where, brief: Brief) -> tuple[str, ...] | None:
    """Return the commands that the places of a clause stand for, else the task's checks."""
    if spots.bare:
        return None  # "the tests in production": nobody knows which command that is
    places = spots.paths
    files = [place for place in places if _TEST_FILE.fullmatch(place)]
    if files:
        return (f"{DEFAULT} {' '.join(files)}",)
    runs = [command for place in places if (command := _command(place))]
    if places and not runs and clause.text.count("⟦"):
        return None
    return tuple(runs) or brief.checks or (DEFAULT,)


def _command(text: str) -> str | None:
    if _RUNS.match(text):
        return text
    if _TEST_FILE.fullmatch(text):
        return f"{DEFAULT} {text}"
    return f"{DEFAULT} -k {text}" if re.fullmatch(r"test_\w+", text) else None
