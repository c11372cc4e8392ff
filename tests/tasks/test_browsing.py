"""Lists page by page, and edits, on both databases; and that lists read indexes, not tables."""

from __future__ import annotations

from typing import Any

import pytest
from tests.tasks.desk import Desk, slots

from ezaigent.core.errors import ConflictError, NotFoundError
from ezaigent.store import Connection, Sql
from ezaigent.tasks import Edit, NewTask, Priority, State, TaskQueue, browsing


async def _all(queue: TaskQueue, **wanted: Any) -> list[str]:
    found: list[str] = []
    before = None
    while True:
        page, before = await queue.page(before=before, **wanted)
        found += [task.id for task in page]
        if before is None:
            return found


async def test_pages_follow_each_other_whatever_is_looked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small window makes short and empty pages; what is found is the same."""
    made = [
        task.id
        for task in await desk.queue.submit_many(
            [
                NewTask(
                    prompt="100% of A_B" if number == 3 else "else",
                    title=f"Number {number}",
                    repo=f"/srv/{number % 3}",
                    profile="gpt" if number % 10 == 0 else None,
                )
                for number in range(45)
            ]
        )
    ]
    for number in (2, 30):
        await desk.queue.cancel(made[number], by="ann")
    for window in (7, 10_000):
        monkeypatch.setattr(browsing, "_WINDOW", window)
        for limit in (1, 4, 100):
            assert await _all(desk.queue, limit=limit) == made[::-1]
            assert await _all(desk.queue, limit=limit, states=[State.CANCELLED]) == [made[30], made[2]]
            assert await _all(desk.queue, limit=limit, states=[State.CANCELLED, State.QUEUED]) == made[::-1]
            assert await _all(desk.queue, limit=limit, repo="/srv/1") == made[1::3][::-1]
            assert await _all(desk.queue, limit=limit, profile="gpt") == made[::10][::-1]
            assert await _all(desk.queue, limit=limit, text="0% of a_b") == [made[3]]
            assert await _all(desk.queue, limit=limit, text="NUMBER 44", states=[State.QUEUED]) == [made[44]]
            assert await _all(desk.queue, limit=limit, text="of%A") == []
            assert await _all(desk.queue, limit=limit, since=1.0) == made[::-1]
            assert await _all(desk.queue, limit=limit, since=9e9) == []


async def test_a_page_reads_no_more_than_it_shows(desk: Desk) -> None:
    await desk.queue.submit_many([NewTask(prompt="x", repo="/srv/a") for _ in range(300)])

    def plans(conn: Connection) -> str:
        if conn.dialect.name == "postgresql":
            Sql("ANALYZE tasks").run(conn)
            Sql("SET LOCAL enable_seqscan = off").run(conn)
        prefix = "EXPLAIN QUERY PLAN " if conn.dialect.name == "sqlite" else "EXPLAIN "
        texts = (
            "SELECT id, created_at FROM tasks WHERE id < '~' ORDER BY id DESC LIMIT 50",
            "SELECT id, created_at FROM tasks WHERE state = 'queued' AND id < '~' ORDER BY id DESC LIMIT 50",
        )
        return "\n".join(str(row) for text in texts for row in Sql(prefix + text).all(conn))

    plan = await desk.db.write(plans)
    assert "ix_tasks_state" in plan or desk.db.dialect == "postgresql"  # where all are in one state, any index will do
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan.upper().replace("INDEX SCAN", "").replace("INDEX ONLY SCAN", "")


async def test_only_what_no_agent_has_can_be_edited(desk: Desk) -> None:
    task = await desk.queue.submit(NewTask(prompt="one", repo="/srv/a"))
    edited = await desk.queue.edit(task.id, Edit(prompt="two", priority=Priority.HIGH), by="ann", seen=task.updated_at)
    assert (edited.prompt, edited.priority, edited.title) == ("two", Priority.HIGH, task.title)
    with pytest.raises(ConflictError, match="changed meanwhile"):
        await desk.queue.edit(task.id, Edit(title="late"), by="bob", seen=task.updated_at)
    same = await desk.queue.edit(task.id, Edit(title=edited.title), by="ann")
    assert same.updated_at == edited.updated_at
    claims = await desk.queue.claim("w", slots(1))
    assert [claim.task.prompt for claim in claims] == ["two"]
    with pytest.raises(ConflictError, match="running; only one that no agent has"):
        await desk.queue.edit(task.id, Edit(title="x"), by="ann")
    with pytest.raises(NotFoundError):
        await desk.queue.edit("nothing", Edit(title="x"), by="ann")
    kinds = [(event.kind, event.data.get("fields")) for event in await desk.events() if event.kind == "task.edited"]
    assert kinds == [("task.edited", ["priority", "prompt"])]
