"""What is queued: once per key, whole batches or nothing, needs that exist and form no circle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.tasks.desk import Desk, scalar

from ezaigent.core.errors import NotFoundError, UsageError
from ezaigent.store import Database
from ezaigent.tasks import NewTask, Priority, State, TaskQueue, project_of


def new(key: str | None = None, *needs: str, **fields: Any) -> NewTask:
    return NewTask(prompt="do it", repo="/srv/one", key=key, needs=needs, **fields)


async def test_a_task_is_kept_as_it_was_submitted(queue: TaskQueue) -> None:
    asked = NewTask(
        prompt="  \nRename the parser\nand more",
        repo="https://example.test/team/one.git",
        base="main",
        profile="gpt",
        priority=Priority.HIGH,
        scope=("src/**",),
        overlap="allow",
        checks=("pytest -q",),
        budget_nusd=5,
        max_attempts=2,
        key="k",
    )
    task = await queue.submit(asked)
    assert await queue.get(task.id) == task
    assert {name: getattr(task, name) for name in NewTask.model_fields if name != "title"} == {
        name: getattr(asked, name) for name in NewTask.model_fields if name != "title"
    }
    assert (task.title, task.project, task.state) == ("Rename the parser", "example.test/team/one", State.QUEUED)


async def test_a_title_is_given_or_cut_from_the_prompt(desk: Desk) -> None:
    assert (await desk.task(title="Given")).title == "Given"
    cut = (await desk.task(prompt="word " * 40)).title
    assert len(cut) == 80
    assert cut.endswith("word…")


async def test_the_same_key_a_hundred_times_at_once_is_one_task(desk: Desk, database_url: str) -> None:
    other = await Database.open(database_url)
    rival = TaskQueue(other, desk.settings)
    tasks = await asyncio.gather(
        *(queue.submit(new("same", title=f"{number}")) for number in range(50) for queue in (desk.queue, rival))
    )
    await other.close()
    assert len({task.id for task in tasks}) == 1
    assert len({task.title for task in tasks}) == 1
    assert await desk.db.read(lambda conn: scalar(conn, "SELECT count(*) FROM tasks")) == 1
    assert await desk.kinds(tasks[0].id) == ["submitted"]


async def test_a_key_stands_for_its_task_whatever_became_of_it(desk: Desk) -> None:
    task = await desk.task(key="once")
    claim = await desk.claim()
    await desk.queue.finish(claim, None)
    again = await desk.task(key="once", prompt="something else")
    assert (again.id, again.state, again.prompt) == (task.id, State.DONE, "do it")


async def test_a_key_twice_in_a_batch_is_one_task(queue: TaskQueue) -> None:
    first, second, third = await queue.submit_many([new("a"), new("a"), new("b")])
    assert first == second
    assert third.id != first.id


async def test_an_unknown_need_is_refused_and_nothing_is_queued(queue: TaskQueue) -> None:
    with pytest.raises(NotFoundError, match="'missing'"):
        await queue.submit_many([new("a"), new("b", "missing")])
    assert sum((await queue.stats()).states.values()) == 0


async def test_needs_may_name_ids_and_keys_of_the_batch_and_of_earlier_tasks(desk: Desk) -> None:
    earlier = await desk.task(key="earlier")
    by_id = await desk.task()
    first, second = await desk.queue.submit_many([new("second", "first", "earlier", by_id.id), new("first")])
    assert first.needs == (second.id, earlier.id, by_id.id)
    assert (first.state, second.state) == (State.WAITING, State.QUEUED)


async def test_needs_that_are_met_already_do_not_wait(desk: Desk) -> None:
    claim = await desk.running()
    await desk.queue.finish(claim, None)
    assert (await desk.task(needs=(claim.task.id,))).state == State.QUEUED


@pytest.mark.parametrize(
    ("batch", "circle"),
    [
        ({"a": ["a"]}, "a → a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "a → b → c → a"),
        ({"x": ["a"], "a": ["ok", "b"], "b": ["a"], "ok": []}, "a → b → a"),
    ],
)
async def test_a_circle_is_refused_and_named(queue: TaskQueue, batch: dict[str, list[str]], circle: str) -> None:
    with pytest.raises(UsageError, match=f"circle: {circle};"):
        await queue.submit_many([new(key, *needs) for key, needs in batch.items()])
    assert sum((await queue.stats()).states.values()) == 0


async def test_a_chain_of_two_thousand_is_no_circle(queue: TaskQueue) -> None:
    chain = [new("0"), *(new(f"{number}", f"{number - 1}") for number in range(1, 2000))]
    tasks = await queue.submit_many(list(reversed(chain)))
    assert [task.state for task in tasks].count(State.WAITING) == 1999


async def test_a_batch_keeps_its_order_and_its_size_is_bounded(queue: TaskQueue) -> None:
    tasks = await queue.submit_many([new() for _ in range(50)])
    assert [task.id for task in tasks] == sorted(task.id for task in tasks)
    assert await queue.submit_many([]) == []
    with pytest.raises(UsageError, match="10001 tasks in one submit"):
        await queue.submit_many([new()] * 10_001)


async def test_the_default_budget_holds_where_none_is_named(db: Database, desk: Desk) -> None:
    queue = TaskQueue(db, desk.settings, default_budget_nusd=7)
    default, own, free = await queue.submit_many([new(), new(budget_nusd=9), new(budget_nusd=0)])
    assert [default.budget_nusd, own.budget_nusd, free.budget_nusd] == [7, 9, 0]
    limits = await db.read(lambda conn: scalar(conn, "SELECT sum(limit_nusd) FROM ledgers"))
    assert limits == 16


def test_what_a_database_cannot_hold_is_refused_before() -> None:
    for fields in ({"prompt": "a\x00b"}, {"prompt": ""}, {"repo": ""}, {"max_attempts": 0}, {"stranger": 1}):
        with pytest.raises(ValidationError):
            NewTask.model_validate({"prompt": "p", "repo": "r", **fields})


@pytest.mark.parametrize(
    ("repo", "project"),
    [
        ("https://user:secret@Example.test/team/one.git", "example.test/team/one"),
        ("ssh://git@example.test:22/team/one/", "example.test/team/one"),
        ("git@Example.test:team/one.git", "example.test/team/one"),
        ("file:///srv/one.git", "/srv/one"),
        ("/srv/one/", "/srv/one"),
        ("/", "/"),
    ],
)
def test_a_project_is_the_repository_without_credentials(repo: str, project: str) -> None:
    assert project_of(repo) == project


@given(st.text(min_size=1))
@example("https://user:secret@[one")
def test_every_text_has_a_project_or_is_refused_without_repeating_it(repo: str) -> None:
    try:
        assert project_of(repo)
    except UsageError as error:
        assert "secret" not in str(error)  # noqa: PT017 - most texts are no error
