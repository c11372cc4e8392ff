"""Lists of tasks page by page, as fast in a hundred thousand tasks as in ten.

What an index holds in order (all tasks, a state's, newest first) is read from the cursor on. What it does not hold
(profile, repository, words) is looked for in a window of that, so a page may be short, or empty, before the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from ezaigent.store import Connection, Sql
from ezaigent.tasks import queries
from ezaigent.tasks.rows import FullRow

_WINDOW: Final = 10_000
"""Tasks looked at for one page."""

_all = Sql("SELECT id, created_at FROM tasks WHERE id < $1 ORDER BY id DESC LIMIT $2")
_state = Sql("SELECT id, created_at FROM tasks WHERE state = $3 AND id < $1 ORDER BY id DESC LIMIT $2")
_matching = Sql(
    r"""SELECT id FROM tasks
    WHERE id IN [$1] AND (CAST($2 AS TEXT) IS NULL OR profile = $2) AND (CAST($3 AS TEXT) IS NULL OR project = $3)
    AND (CAST($4 AS TEXT) IS NULL
        OR lower(title) LIKE lower($4) ESCAPE '\' OR lower(prompt) LIKE lower($4) ESCAPE '\')
    ORDER BY id DESC LIMIT $5"""
)

_LAST: Final = "~"
"""Sorts behind every id."""


class Wanted(NamedTuple):
    """Which tasks a list shows; None: any."""

    states: Sequence[str] | None = None
    profile: str | None = None
    project: str | None = None
    text: str | None = None
    since: float | None = None

    @property
    def narrow(self) -> bool:
        """Whether it takes more than an index to tell."""
        return any(one is not None for one in (self.profile, self.project, self.text))


def page(conn: Connection, wanted: Wanted, limit: int, before: str | None) -> tuple[list[FullRow], str | None]:
    """Return a page of tasks, newest first, and the cursor of the next one; None at the end."""
    most = _WINDOW if wanted.narrow else limit + 1
    seen = list(islice(_newest(conn, wanted.states, before or _LAST, most), most))
    fresh = [task_id for task_id, at in seen if wanted.since is None or at >= wanted.since]
    ended = len(seen) < most or len(fresh) < len(seen)  # older ones are no fresher
    if wanted.narrow:
        like = None if wanted.text is None else f"%{_escaped(wanted.text)}%"
        found = [row[0] for row in _matching.all(conn, fresh, wanted.profile, wanted.project, like, limit + 1)]
    else:
        found = fresh
    shown = found[:limit]
    after = shown[-1] if len(found) > limit else None if ended or not fresh else fresh[-1]
    return queries.by_ids(conn, shown), after


def _newest(conn: Connection, states: Sequence[str] | None, before: str, most: int) -> Iterable[tuple[str, float]]:
    """Return ids with their times, newest first; each state's come in order out of its index."""
    if states is None:
        return [(row[0], row[1]) for row in _all.all(conn, before, most)]
    lists = [[(row[0], row[1]) for row in _state.all(conn, before, most, state)] for state in dict.fromkeys(states)]
    return heapq.merge(*lists, reverse=True)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
