"""What people are told, in words: nothing of a repository, a model or an error's text, for screens show it locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from ezaigent.core.events import Event
from ezaigent.push.models import NoteKind

_SORTS: Final[dict[str, tuple[NoteKind, str]]] = {
    "task.review": ("approvals", "Ready to review"),
    "task.blocked": ("approvals", "Needs your answer"),
    "task.failed": ("failures", "Task failed"),
    "run.budget": ("budget", "Budget reached"),
    "model.parked": ("budget", "Quota or money used up"),
}
KINDS: Final = tuple(_SORTS)
"""Kinds of events that people are told."""
MANY: Final = 3
"""Notes of one kind at a time, above which one note counts them."""
_SUMMARIES: Final[dict[NoteKind, tuple[str, str]]] = {
    "approvals": ("tasks wait for you", "/#/tasks?state=review,blocked"),
    "failures": ("tasks failed", "/#/tasks?state=failed"),
    "budget": ("budgets or quotas were used up", "/#/costs"),
}
_TITLE: Final = 120
"""Characters of a task's title that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One notification."""

    kind: NoteKind
    title: str
    body: str
    tag: str
    """A later note with the same tag takes the place of this one."""
    url: str
    """Where it leads, within the dashboard."""
    task: str | None = None
    commit: str | None = None
    """The change that can be approved from the notification: this one, no later one."""
    at: float = 0.0

    def payload(self, user: str, *, may_approve: bool) -> bytes:
        """Return what the browser of ``user`` gets."""
        return orjson.dumps(
            {
                "kind": self.kind,
                "title": self.title,
                "body": self.body,
                "tag": self.tag,
                "url": self.url,
                "task": self.task,
                "commit": self.commit if may_approve else None,
                "user": user,
                "at": self.at,
            }
        )


def note_of(event: Event, titles: Mapping[str, str]) -> Note | None:
    """Return what an event tells people; None for nothing. ``titles``: of tasks, by their ids."""
    sort = _SORTS.get(event.kind)
    if sort is None:
        return None
    kind, words = sort
    task = event.task_id
    title = " ".join(titles.get(task or "", "").split())[:_TITLE]
    return Note(
        kind=kind,
        title=words,
        body=_parked(event.data) if event.kind == "model.parked" else title + _spent(event.data),
        tag=f"{kind} {task or 'fleet'}",
        url=f"/#/tasks/{task}" if task else "/#/costs" if event.kind == "run.budget" else "/#/",
        task=task,
        commit=str(event.data["commit"]) if event.kind == "task.review" and event.data.get("commit") else None,
        at=event.at,
    )


def grouped(notes: Sequence[Note]) -> list[Note]:
    """Return the notes, with one that counts in place of many of one kind."""
    found: list[Note] = []
    for kind, (words, url) in _SUMMARIES.items():
        some = [note for note in notes if note.kind == kind]
        if len(some) > MANY:
            at = max(note.at for note in some)
            body = ", ".join(note.body for note in some[-MANY:] if note.body)
            some = [Note(kind=kind, title=f"{len(some)} {words}", body=body, tag=f"{kind} many", url=url, at=at)]
        found += some
    return found


def _parked(data: Mapping[str, Any]) -> str:
    what = {"quota": "A provider's quota is used up", "billing": "A provider's account has no money"}
    words = what.get(str(data.get("kind")), "A provider refuses a key")
    until = data.get("until")
    if not isinstance(until, int | float):
        return words
    return f"{words}; it is asked again at {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"


def _spent(data: Mapping[str, Any]) -> str:
    limit = data.get("limit_usd")
    return f" (cap {limit:.2f} USD)" if isinstance(limit, int | float) else ""
