"""Which files earlier changes of a repository touched, and in which words they were asked for."""

from __future__ import annotations

from collections.abc import Iterable
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
# One statement gives the time, which a submit needs anyway, and what there is of the project: mostly nothing.
_recall: Final = Sql(
    f"""SELECT {{now}}, t.task_id, t.words, t.paths FROM (SELECT 1) AS one LEFT JOIN (
        SELECT task_id, words, paths FROM touched WHERE project = $1 ORDER BY task_id DESC LIMIT {LOOKED_AT}
    ) AS t ON true ORDER BY t.task_id DESC"""  # noqa: S608 - a constant
)


def remember(conn: Connection, changes: Iterable[tuple[Task, Change]]) -> None:
    """Keep what the changes of these tasks touched, for the prediction of later ones."""
    rows = [
        (task.id, task.project, " ".join(sorted(words(task.prompt))), orjson.dumps(change.paths).decode())
        for task, change in changes
        if change.paths
    ]
    _insert(conn, rows)


def recall(conn: Connection, project: str) -> tuple[float, list[Touched]]:
    """Return the database's time and the newest changes of a project, the newest first."""
    found = _recall.all(conn, project)
    return float(found[0][0]), [
        Touched(task_id, frozenset(said.split()), orjson.loads(paths))
        for _, task_id, said, paths in found
        if task_id is not None
    ]
