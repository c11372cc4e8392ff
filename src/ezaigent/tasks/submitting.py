"""Accept new tasks: keys, needs, circles, budgets; everything in the caller's transaction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import orjson

from ezaigent.core.errors import NotFoundError, UsageError
from ezaigent.core.ids import new_id
from ezaigent.store import Connection, NewEvent, emit_many, now
from ezaigent.tasks import queries
from ezaigent.tasks.history import History
from ezaigent.tasks.models import GENERAL, MET, NewTask, Overlap, State
from ezaigent.tasks.predicting import predict, stored
from ezaigent.tasks.rows import FullRow

MOST: Final = 10_000
"""Tasks that one submit may hold: the transaction keeps every other write of the process waiting."""
_TITLE: Final = 80
_SCP: Final = re.compile(r"^(?:[^@/]+@)?([^:/]+):(?!//)(.+)$")  # git@host:owner/name.git


class KeyTaken(Exception):
    """Another process committed a task with the same key while this transaction was open."""


@dataclass
class Submitted:
    """What became of a batch: a row for each request, in its order, and those that are new."""

    rows: list[FullRow]
    new: list[FullRow]


@lru_cache(maxsize=4096)
def project_of(repo: str) -> str:
    """Return the repository's name for fairness: without credentials, scheme and suffixes.

    Raises ``UsageError`` for a URL that cannot be read.
    """
    if "://" in repo:
        try:
            parts = urlsplit(repo)
            host = (parts.hostname or "").lower()
        except ValueError:  # the text may hold credentials: it is not repeated
            raise UsageError("the repository's URL cannot be read: check its host, such as the brackets") from None
        place = f"{host}{parts.path}" if parts.scheme != "file" else parts.path
    elif scp := _SCP.match(repo):
        place = f"{scp[1].lower()}/{scp[2]}"
    else:
        place = repo
    place = place.rstrip("/").removesuffix(".git").rstrip("/")
    return place or repo


def title_of(new: NewTask) -> str:
    """Return the title, or the first line of the prompt."""
    if new.title:
        return new.title
    line = next((line.strip() for line in new.prompt.splitlines() if line.strip()), "")
    return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"


def draft_of(new: NewTask) -> str:
    """Return a digest of all that is asked for but the key and the repository, whose text may hold a login."""
    asked = new.model_dump_json(exclude={"key", "repo"}, exclude_defaults=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def refuse_circles(new: Sequence[NewTask]) -> None:
    """Raise ``UsageError`` naming the circle when tasks of the batch need each other."""
    by_key = {task.key: task for task in new if task.key is not None}
    done: set[str] = set()
    for start, first in by_key.items():
        path: list[str] = []  # a walk with an explicit stack: a chain may be longer than Python's recursion allows
        stack = [(start, iter(first.needs))] if start not in done else []
        path += [key for key, _ in stack]
        while stack:
            key, needs = stack[-1]
            need = next((one for one in needs if one in by_key and one not in done), None)
            if need is None:
                done.add(key)
                stack.pop()
                path.pop()
            elif need in path:
                circle = " → ".join([*path[path.index(need) :], need])
                raise UsageError(f"tasks need each other in a circle: {circle}; drop one of these needs")
            else:
                stack.append((need, iter(by_key[need].needs)))
                path.append(need)


def submit(
    conn: Connection,
    new: Sequence[NewTask],
    *,
    by: str | None,
    default_budget: int | None,
    overlap: Overlap,
    past: History,
) -> Submitted:
    """Insert tasks and say so, and who asked for them, in the event log. A taken key stands for the task that has it.

    Raises ``KeyTaken`` when another process takes a key in this very moment: run the transaction again.
    """
    at = now(conn)
    known = queries.by_keys(conn, {task.key for task in new if task.key is not None})
    rows: list[FullRow] = []
    fresh: dict[str, tuple[FullRow, NewTask]] = {}
    ids = iter(sorted(new_id() for _ in new))  # within one millisecond ids are random: keep the order of the batch
    for task in new:
        row = known.get(task.key) if task.key is not None else None
        if row is None:
            row = _row(task, next(ids), at, default_budget)
            if (task.overlap or overlap) == "wait":
                _guard(conn, row, task.title, past)
            fresh[row.id] = row, task
            if task.key is not None:
                known[task.key] = row
        rows.append(row)
    _settle_needs(conn, fresh, {key: row.id for key, row in known.items()})
    inserted = [row for row, _ in fresh.values()]
    if queries.insert(conn, inserted) != len(inserted):
        raise KeyTaken
    _record(conn, inserted, {row.id: draft_of(task) for row, task in fresh.values() if row.key is not None}, at, by)
    return Submitted(rows, inserted)


def _row(task: NewTask, task_id: str, now: float, default_budget: int | None) -> FullRow:
    later = task.not_before is not None and task.not_before > now
    return FullRow(
        id=task_id,
        key=task.key,
        title=title_of(task),
        prompt=task.prompt,
        repo=task.repo,
        base=task.base,
        project=project_of(task.repo),
        profile=task.profile,
        pool=task.profile or GENERAL,
        priority=task.priority.value,
        scope=_json(task.scope),
        checks=_json(task.checks),
        needs="[]",
        overlap="allow",
        predicted="[]",
        guarded=0,
        held_by=None,
        budget_nusd=task.budget_nusd if task.budget_nusd is not None else default_budget,
        not_before=task.not_before,
        max_attempts=task.max_attempts,
        state=(State.WAITING if later else State.QUEUED).value,
        attempts=0,
        crashes=0,
        session=0,
        fresh=1,
        fence=0,
        agent=None,
        run_id=None,
        worker=None,
        lease_until=None,
        wake_at=task.not_before if later else None,
        queued_at=None if later else now,
        cancel_requested=False,
        reason="",
        steps=0,
        change=None,
        created_at=now,
        updated_at=now,
        started_at=None,
        finished_at=None,
    )


def _guard(conn: Connection, row: FullRow, title: str, past: History) -> None:
    """Let the task wait for those that change the same files, where its files are known."""
    row.overlap = "wait"
    if row.scope == "[]" and (
        guesses := predict(row.prompt, title, row.repo, past.recall(conn, row.project, row.created_at))
    ):
        row.predicted = stored(guesses)
    row.guarded = int(row.scope != "[]" or row.predicted != "[]")


def _json(values: Sequence[str]) -> str:
    return orjson.dumps(values).decode() if values else "[]"


def _settle_needs(conn: Connection, fresh: Mapping[str, tuple[FullRow, NewTask]], known: Mapping[str, str]) -> None:
    """Resolve needs (keys or ids) to ids, refuse unknown ones, and let tasks wait whose needs are not met."""
    wanted = {need for _, task in fresh.values() for need in task.needs}
    if not wanted:
        return
    named = {**queries.resolve(conn, wanted - known.keys()), **known}
    if missing := sorted(wanted - named.keys()):
        raise NotFoundError(f"there is no task with the id or key {missing[0]!r} that another one needs")
    stored = {named[need] for need in wanted} - fresh.keys()
    # Locked: a needed task that ends in this moment must either be seen as met here or see the new task there.
    _, needed = queries.load(conn, stored) if stored else (0.0, {})
    for row, task in fresh.values():
        ids = list(dict.fromkeys(named[need] for need in task.needs))
        row.needs = _json(ids)
        if any(need in fresh or needed[need].state not in MET for need in ids):
            row.state = State.WAITING.value
            row.wake_at = row.queued_at = None


def _record(conn: Connection, fresh: Sequence[FullRow], drafts: Mapping[str, str], now: float, by: str | None) -> None:
    pairs = [(row.id, need) for row in fresh if row.needs != "[]" for need in orjson.loads(row.needs)]
    queries.insert_needs(conn, pairs)
    queries.insert_ledgers(conn, [(f"task:{row.id}", row.budget_nusd) for row in fresh if row.budget_nusd is not None])
    events: list[NewEvent] = []
    for row in fresh:
        data = {"state": row.state, "title": row.title, "profile": row.profile, "priority": row.priority}
        data |= {"needs": orjson.loads(row.needs), "by": by}
        if row.id in drafts:
            data["draft"] = drafts[row.id]
        events.append(NewEvent("task.submitted", row.id, None, None, data, now))
    emit_many(conn, events)
