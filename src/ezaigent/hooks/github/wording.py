"""What a task is asked, and what an issue is told. Text of others is fenced: it can name nobody and format nothing."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from ezaigent.hooks.github.queries import Issue
from ezaigent.tasks import State, Task

_LONGEST: Final = 4000
"""Characters of one fenced piece."""
_CHECKS: Final = 20


def prompt(issue: Issue) -> str:
    """Return the words for the agent: the issue's, and nothing else is made of them."""
    return "\n\n".join(filter(None, (issue.title, issue.body.strip())))


def title(issue: Issue) -> str:
    """Return the task's title."""
    return f"#{issue.number} {issue.title}"[:200]


def mark(secret: str, task_id: str) -> str:
    """Return the invisible sign by which our own comment is found again; nobody else can know it."""
    word = hmac.new(secret.encode(), f"report {task_id}".encode(), hashlib.sha256).hexdigest()[:32]
    return f"<!-- ezaigent {word} -->"


def pull_title(issue: Issue) -> str:
    """Return the title of the pull request."""
    return f"{_plain(issue.title)} (#{issue.number})"[:250]


def pull_text(issue: Issue, task: Task, sign: str) -> str:
    """Return the text of the pull request."""
    return "\n\n".join((f"For #{issue.number}.", _change(task), _checks(task), sign))


def report(task: Task, sign: str, trouble: str = "") -> str:
    """Return the comment that says what became of the task."""
    if task.state in {State.REVIEW, State.DONE} and task.change is not None:
        if task.change.commit == task.change.base:
            said = ["Nothing had to be changed.", _fenced(task.change.note)]
        else:
            said = [f"The change is on branch `{task.change.branch}`.", _change(task), _checks(task)]
    elif task.state is State.CANCELLED:
        said = ["The task was cancelled.", _fenced(task.reason)]
    elif task.state is State.FAILED:
        said = ["The task failed.", _fenced(task.reason)]
    else:
        said = [f"The task is {task.state.value}.", _fenced(task.reason)]
    if trouble:
        said += ["It could not be made a pull request:", _fenced(trouble)]
    return "\n\n".join(filter(None, (*said, f"Task `{task.id}`.", sign)))


def _change(task: Task) -> str:
    change = task.change
    assert change is not None
    files = "1 file" if change.files == 1 else f"{change.files} files"
    return f"{files} changed, {change.insertions} lines added, {change.deletions} removed, by agent `{task.agent}`."


def _checks(task: Task) -> str:
    change = task.change
    if change is None or not change.checks:
        return "No checks were asked for."
    lines = [f"{'passed' if one.ok else 'FAILED'}  {' '.join(one.command.split())}" for one in change.checks[:_CHECKS]]
    return "Checks on exactly this tree:\n\n" + _fenced("\n".join(lines))


def _fenced(text: str) -> str:
    """Return text as a block that is shown as it is, whatever it holds."""
    if not text.strip():
        return ""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n[cut]"
    longest = max((len(run) for run in re.findall("`+", cut)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{cut}\n{fence}"


def _plain(text: str) -> str:
    """Return a title that notifies nobody."""
    return " ".join(text.split()).replace("@", "@\u200b")
