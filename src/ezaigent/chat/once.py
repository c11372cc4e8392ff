"""Lines with a key are taken once: what was begun for one is written down before it is done.

A line that queues a task or writes to agents can be taken again without harm: the task has a key of its own, and the
messages are sent in the transaction that keeps the answer. Whatever else changes something is begun once; where its
answer was lost nobody can tell any more whether it was done, and it is not done again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ezaigent.chat.commands import Approve, Cancel, Clear, Command, Retry, Submit, Tell, harmless

if TYPE_CHECKING:
    from ezaigent.chat.carrying import Ready


class Once(NamedTuple):
    """What tells a line from all others."""

    conversation: str
    by: str
    key: str


def repeatable(command: Command) -> bool:
    """Whether a command that is carried out again under the same key has been carried out once."""
    return isinstance(command, Submit | Tell) or harmless(command)


def unsure(ready: Ready) -> str:
    """Return what is known of a command that was begun and has no answer, and where to look."""
    match ready.command:
        case Cancel() | Retry() | Approve() as command:
            where = f"/task {command.task}"
        case Clear():
            where = "/queue"
        case _:
            where = "/agents"
    return (
        f"this was begun before and its answer was lost, so it may have been done: {ready.understood}; it is not done "
        f"again: look with {where}, and say it anew where it is still wanted"
    )
