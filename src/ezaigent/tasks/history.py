"""Which files earlier changes of a repository touched, and in which words they were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from ezaigent.core.change import Change
from ezaigent.store import BulkInsert, Connection, Sql, tables
from ezaigent.tasks.models import Task
from ezaigent.tasks.predicting import LOOKED_AT, Touched, words

_insert = BulkInsert(
    tables.touched,
    ("task_id", "project", "words", "paths"),
    on_conflict="ON CONFLICT (task_id) DO UPDATE SET words = excluded.words, paths = excluded.paths",
)
_recall: Final = Sql(
    f"SELECT task_id, words, paths FROM touched WHERE project = $1 ORDER BY task_id DESC LIMIT {LOOKED_AT}"  # noqa: S608 - a constant
)
_KEPT: Final = 1.0
"""Seconds that a process may predict from what it read last: submits are many, and changes are few."""
_PROJECTS: Final = 1000


def remember(conn: Connection, changes: Iterable[tuple[Task, Change]]) -> None:
    """Keep what the changes of these tasks touched, for the prediction of later ones."""
    rows = [
        (task.id, task.project, " ".join(sorted(words(task.prompt))), orjson.dumps(change.paths).decode())
        for task, change in changes
        if change.paths
    ]
    _insert(conn, rows)


class History:
    """The newest changes of each repository, as one process has read them."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._read: dict[str, tuple[float, list[Touched]]] = {}

    def clear(self) -> None:
        """Read anew: this process has ended a task with a change."""
        self._read.clear()

    def recall(self, conn: Connection, project: str, at: float) -> Sequence[Touched]:
        """Return the newest changes of a project, the newest first; ``at`` is the database's time."""
        read = self._read.get(project)
        if read is None or not read[0] <= at < read[0] + _KEPT:
            if len(self._read) > _PROJECTS:
                self.clear()
            self._read[project] = read = at, recall(conn, project)
        return read[1]


def recall(conn: Connection, project: str) -> list[Touched]:
    """Return the newest changes of a project, the newest first."""
    return [
        Touched(task_id, frozenset(said.split()), orjson.loads(paths))
        for task_id, said, paths in _recall.all(conn, project)
    ]
