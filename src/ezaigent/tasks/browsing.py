"""Lists of tasks page by page, as fast in a hundred thousand tasks as in ten.

What an index holds in order (all tasks, a state's, newest first) is read from the cursor on. What it does not hold
(profile, repository, words) is looked for among the next few thousand tasks, so a page may be short, or empty, before
the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from ezaigent.store import Connection, Sql
from ezaigent.tasks import queries
from ezaigent.tasks.rows import FullRow

_WINDOW: Final = 5_000
"""Tasks looked at for one page."""

_all = Sql("SELECT id, created_at FROM tasks WHERE id < $1 ORDER BY id DESC LIMIT $2")
_state = Sql("SELECT id, created_at FROM tasks WHERE state = $3 AND id < $1 ORDER BY id DESC LIMIT $2")
# The last of so many, found in the index alone: their rows lie far apart.
_edge = Sql(
    """SELECT id, created_at FROM tasks
    WHERE id = (SELECT id FROM tasks WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2)"""
)
_matching = Sql(
    r"""SELECT id FROM tasks
    WHERE id < $1 AND id >= $2 AND (CAST($3 AS double precision) IS NULL OR created_at >= $3)
    AND (CAST($4 AS TEXT) IS NULL OR profile = $4) AND (CAST($5 AS TEXT) IS NULL OR project = $5)
    AND (CAST($6 AS TEXT) IS NULL
        OR lower(title) LIKE lower($6) ESCAPE '\' OR lower(prompt) LIKE lower($6) ESCAPE '\')
    AND (CAST($7 AS integer) = 0 OR state IN [$8])
    ORDER BY id DESC LIMIT $9"""
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
    choose = _searched if wanted.narrow else _listed
    ids, after = choose(conn, wanted, limit, before or _LAST)
    return queries.by_ids(conn, ids), after


def _listed(conn: Connection, wanted: Wanted, limit: int, before: str) -> tuple[list[str], str | None]:
    seen = list(islice(_newest(conn, wanted.states, before, limit + 1), limit + 1))
    fresh = [task_id for task_id, at in seen if wanted.since is None or at >= wanted.since]
    return fresh[:limit], fresh[limit - 1] if len(fresh) > limit else None


def _newest(conn: Connection, states: Sequence[str] | None, before: str, most: int) -> Iterable[tuple[str, float]]:
    """Return ids with their times, newest first; each state's come in order out of its index."""
    if states is None:
        return [(row[0], row[1]) for row in _all.all(conn, before, most)]
    lists = [[(row[0], row[1]) for row in _state.all(conn, before, most, state)] for state in dict.fromkeys(states)]
    return heapq.merge(*lists, reverse=True)


def _searched(conn: Connection, wanted: Wanted, limit: int, before: str) -> tuple[list[str], str | None]:
    edge = _edge.first(conn, before, _WINDOW - 1)
    last = "" if edge is None else str(edge[0])
    like = None if wanted.text is None else f"%{_escaped(wanted.text)}%"
    states = list(wanted.states or ())
    given = (before, last, wanted.since, wanted.profile, wanted.project, like, len(states), states, limit + 1)
    found = [str(row[0]) for row in _matching.all(conn, *given)]
    ended = edge is None or (wanted.since is not None and edge[1] < wanted.since)  # older ones are no fresher
    if len(found) > limit:
        return found[:limit], found[limit - 1]
    return found, None if ended else last


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
