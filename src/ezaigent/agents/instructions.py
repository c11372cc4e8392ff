"""What the agent is told: who it is, where it works, what is asked, what the checks said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ezaigent.core.change import CheckResult
from ezaigent.tasks import Task

if TYPE_CHECKING:
    from ezaigent.agents.profiles import Profile

_GROUND: Final = """\
You are a software engineer who works alone on one task in a git work tree. Nobody answers questions: decide and go on.

- Look before you change: find the code that matters, read it, follow its conventions and the repository's own guides.
- Make the smallest change that fully does what the task asks. Fix causes, not symptoms; never weaken a test to pass it.
- Paths are relative to the root of the work tree. Commands run there in a sandbox: no network, nothing outside the tree
  can be written, and no process outlives its command.
- The commands under "Checks:" must exit with 0 on your finished work tree; only files that match a glob under "Scope:"
  may be changed. Where a list is missing, nothing is asked of that kind.
- Verify with the repository's own tests and linters before you finish.
- Do not commit, branch, stash or push: the work tree is taken as it stands when you finish.
- A message that comes in between is from a person: follow it, and answer it in a sentence beside your next step.
- Finish by answering, without a tool call, with one short paragraph for a person: what you changed and how you verified
  it.\
"""

CONTINUED: Final = "An earlier attempt has left its work in the tree; look at it before you start anew."
_CHECK_OUTPUT: Final = 6000
"""Characters of a failing check's output that are told to the agent."""


def instructions(profile: Profile) -> str:
    """Return the standing instructions of a profile; the same for all its tasks, so that providers can cache them."""
    parts = [_GROUND]
    if profile.specialties:
        parts.append(f"You are especially good at: {', '.join(profile.specialties)}.")
    if profile.instructions:
        parts.append(profile.instructions)
    return "\n\n".join(parts)


def opening(task: Task, *, notes: Sequence[str] = ()) -> str:
    """Return the first message: the task, its checks and scope, and what else is to be known about the tree."""
    parts = [task.prompt]
    if task.checks:
        parts.append("Checks:\n" + "\n".join(f"- `{command}`" for command in task.checks))
    if task.scope:
        parts.append("Scope:\n" + "\n".join(f"- `{glob}`" for glob in task.scope))
    parts.extend(notes)
    return "\n\n".join(parts)


def check_feedback(checks: Sequence[CheckResult], outside: Sequence[str], scope: Sequence[str]) -> str:
    """Return the message that sends failing checks, or files outside the scope, back to the agent."""
    parts: list[str] = []
    for check in checks:
        if not check.ok:
            output = check.output.strip()
            shown = output if len(output) <= _CHECK_OUTPUT else f"[…]\n{output[-_CHECK_OUTPUT:]}"
            parts.append(f"The check `{check.command}` failed with exit code {check.exit_code}:\n\n```\n{shown}\n```")
    if outside:
        files = "\n".join(f"- {path}" for path in outside[:50])
        parts.append(
            f"These files are changed but outside the task's scope ({', '.join(scope)}); restore them:\n{files}"
        )
    parts.append("Mend this, then finish as before.")
    return "\n\n".join(parts)
