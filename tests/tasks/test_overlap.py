"""Tasks that change the same files run one after the other, the oldest first, and say whom they wait for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from tests.tasks.desk import CHANGE, Desk, ids, slots

from ezaigent.store import Database, Sql
from ezaigent.tasks import Claim, NewTask, Priority, State, Task
from ezaigent.tasks.editing import Edit
from ezaigent.tasks.globs import common
from ezaigent.tasks.overlap import branch

_worker = Sql(
    """INSERT INTO workers (id, host, pid, version, started_at, seen_at, info)
    VALUES ($1, 'h', 1, 'v', {now}, {now} - CAST($3 AS double precision), $2)"""
)
_leave = Sql("DELETE FROM workers")
_end = Sql("UPDATE tasks SET state = 'failed' WHERE id = $1")


async def living(desk: Desk, *agents: str, ago: float = 0.0, **more: Any) -> None:
    """Let a worker with these agents be alive, or have been ``ago`` seconds ago."""
    info = orjson.dumps({"agents": agents, **more}).decode()
    await desk.db.write(lambda conn: _worker.run(conn, "-".join(agents), info, ago))


async def held(desk: Desk, task: Task) -> str | None:
    found = await desk.queue.get(task.id)
    assert (found.held_by is not None) <= (found.state is State.WAITING)
    return found.held_by


async def test_of_two_tasks_that_change_the_same_files_the_older_runs_first(desk: Desk) -> None:
    one = await desk.task(scope=["src/**"], title="Tidy the shop")
    two = await desk.task(scope=["src/shop/cart.py"])
    [first] = await desk.claim_all(2)
    assert first.task.id == one.id
    assert await held(desk, two) == one.id
    assert await desk.claim_all(2) == []
    assert await desk.queue.why(two.id) == (
        f"waits for {one.id} 'Tidy the shop', which is worked on by claude-1 and changes src/** too; "
        "this task changes src/shop/cart.py"
    )
    await desk.queue.finish(first, CHANGE)
    assert ids(await desk.claim_all(2)) == [two.id]
    assert await desk.kinds(two.id) == ["submitted", "waiting", "queued", "claimed"]


@pytest.mark.parametrize(
    ("one", "two", "together"),
    [
        ({"scope": ["src/**"]}, {"scope": ["src/a.py"]}, False),
        ({"scope": ["src/**"]}, {"scope": ["docs/**"]}, True),
        ({"scope": ["src/**"], "repo": "/srv/other"}, {"scope": ["src/**"]}, True),
        ({"scope": ["src/**"], "base": "release"}, {"scope": ["src/**"]}, True),
        ({"scope": ["src/**"], "base": "origin/main"}, {"scope": ["src/**"]}, False),
        ({"scope": ["src/**"], "overlap": "allow"}, {"scope": ["src/**"]}, True),
        ({"scope": ["src/**"]}, {"scope": ["src/**"], "overlap": "allow"}, True),
        ({"scope": ["src/**"]}, {}, True),
        ({}, {}, True),
        ({"prompt": "mend src/a.py"}, {"prompt": "test src/a.py"}, False),
        ({"prompt": "mend src/a.py"}, {"prompt": "test src/b.py"}, True),
        ({"prompt": "mend a.py", "overlap": "allow"}, {"prompt": "mend a.py"}, True),
        ({"prompt": "mend docs/a.md", "scope": ["src/**"]}, {"scope": ["docs/**"]}, True),
    ],
)
async def test_what_runs_at_the_same_time(
    desk: Desk, one: dict[str, Any], two: dict[str, Any], *, together: bool
) -> None:
    await desk.task(**one)
    await desk.task(**two)
    assert len(await desk.claim_all(2)) == 1 + together


async def test_the_setting_lets_tasks_overlap_that_say_nothing(db: Database) -> None:
    desk = Desk(db, overlap="allow")
    for overlap in (None, None, "wait", "wait"):
        await desk.task(scope=["src/**"], overlap=overlap)
    assert len(await desk.claim_all(4)) == 3


def test_a_base_has_several_spellings() -> None:
    assert branch(None) == branch("main") == branch("refs/heads/master") == branch("HEAD")
    assert branch("origin/next") == branch("refs/heads/next") == "next"


async def test_a_prediction_is_made_once_and_told(desk: Desk) -> None:
    one = await desk.task("mend `src/shop/` please", title="Mend the shop")
    assert one.predicted == ("src/shop/**",)
    two = await desk.task("look at src/shop/cart.py")
    assert [claim.task.id for claim in await desk.claim_all(2)] == [one.id]
    assert await desk.queue.why(two.id) == (
        f"waits for {one.id} 'Mend the shop', which is worked on by claude-1 and changes src/shop/** too (predicted "
        "from its prompt); this task changes src/shop/cart.py (predicted from its own prompt)"
    )


async def test_what_an_earlier_change_touched_is_expected_of_a_prompt_in_the_same_words(desk: Desk) -> None:
    earlier = await desk.running(prompt="Mend the rounding of prices in the cart")
    await desk.queue.finish(earlier, CHANGE.model_copy(update={"paths": ("src/cart.py",)}))
    other = await desk.task("Mend the rounding of prices in the cart", repo="/srv/other")
    one = await desk.task("Mend the rounding of all prices in this cart")
    two = await desk.task(scope=["src/**"])
    assert (other.predicted, one.predicted) == ((), ("/src/cart.py",))
    assert set(ids(await desk.claim_all(3))) == {one.id, other.id}
    assert await held(desk, two) == one.id
    assert (
        f"changes /src/cart.py too (predicted from the files that {earlier.task.id} touched, which was asked for in "
        "much the same words); this task changes src/**" in await desk.queue.why(two.id)
    )


async def test_nobody_is_overtaken_by_a_later_task_that_overlaps_with_it(desk: Desk) -> None:
    running = await desk.running(scope=["a/**"])
    both = await desk.task(scope=["a/**", "b/**"])
    later = await desk.task(scope=["b/**"])
    last = await desk.task(scope=["b/b.py"])
    assert await desk.claim_all(3) == []
    assert [await held(desk, task) for task in (both, later, last)] == [running.task.id, both.id, later.id]
    await desk.queue.finish(running, None)
    for task in (both, later, last):
        [claim] = await desk.claim_all(3)
        assert claim.task.id == task.id
        await desk.queue.finish(claim, None)


async def test_a_higher_priority_goes_first(desk: Desk) -> None:
    low = await desk.task(scope=["src/**"])
    high = await desk.task(scope=["src/**"], priority=Priority.CRITICAL)
    assert ids(await desk.claim_all(2)) == [high.id]
    assert await held(desk, low) == high.id


async def test_the_queue_tells_before_a_claim_has_judged(desk: Desk) -> None:
    running = await desk.running(scope=["src/**"])
    task = await desk.task(scope=["src/**"])
    assert f"waits for {running.task.id}" in await desk.queue.why(task.id)
    assert (await desk.queue.get(task.id)).state is State.QUEUED


async def test_many_tasks_on_one_file_are_done_one_by_one_and_judged_once(desk: Desk) -> None:
    tasks = await desk.queue.submit_many([NewTask(prompt=f"{n} in a.py", repo="/r") for n in range(40)])
    done: list[str] = []
    while claims := await desk.claim_all(7):
        assert len(claims) == 1
        done += ids(claims)
        await desk.queue.finish(claims[0], None)
    assert done == [task.id for task in tasks]
    told = [event for event in await desk.events() if event.kind == "task.waiting"]
    assert len(told) == len(tasks) - 1


async def test_plain_tasks_behind_many_held_ones_are_found(desk: Desk) -> None:
    await desk.queue.submit_many([NewTask(prompt="in a.py", repo="/r") for _ in range(60)])
    plain = await desk.task("do it", repo="/r")
    assert plain.id in ids(await desk.claim_all(10))


@pytest.mark.parametrize("how", ["done", "review", "failed", "retry", "blocked", "cancelled", "person", "died"])
async def test_however_the_first_one_ends_the_next_goes_on(desk: Desk, how: str) -> None:
    task = await desk.task(scope=["src/**"], max_attempts=2)
    claim = await desk.claim()
    waiting = await desk.task(scope=["src/**"])
    assert await desk.claim_all() == []
    queue = desk.queue
    ends: dict[str, Callable[[], Awaitable[Any]]] = {
        "done": lambda: queue.finish(claim, None),
        "review": lambda: queue.finish(claim, CHANGE),
        "failed": lambda: queue.fail(claim, "no", retryable=False),
        "retry": lambda: queue.fail(claim, "no"),
        "blocked": lambda: queue.block(claim, "which?"),
        "cancelled": lambda: queue.cancelled(claim),
        "person": lambda: queue.cancel(task.id, by="ann"),
        "died": lambda: desk.expire(task.id),
    }
    if how in ("cancelled", "died"):
        await queue.cancel(task.id, by="ann")
    if how == "person":
        await desk.expire(task.id)
    await ends[how]()
    claims = await desk.claim_all() or await desk.claim_all()  # the death of a run is found out by a claim
    assert ids(claims) == [waiting.id]


async def test_a_task_given_back_goes_on_before_the_next(desk: Desk) -> None:
    first = await desk.running(scope=["src/**"])
    later = await desk.task(scope=["src/**"])
    assert await desk.claim_all() == []
    await desk.queue.release(first, "drain")
    assert ids(await desk.claim_all(2)) == [first.task.id]
    assert await held(desk, later) == first.task.id


async def test_a_run_is_taken_over_although_others_wait_for_it(desk: Desk) -> None:
    first = await desk.running(scope=["src/**"])
    await desk.task(scope=["src/**"])
    assert await desk.claim_all() == []
    await desk.expire(first.task.id)
    assert ids(await desk.claim_all(2)) == [first.task.id]


async def test_a_cancelled_task_in_the_middle_lets_the_next_be_judged_again(desk: Desk) -> None:
    first = await desk.running(scope=["src/**"])
    middle = await desk.task(scope=["src/**"])
    last = await desk.task(scope=["src/**"])
    assert await desk.claim_all(3) == []
    await desk.queue.cancel(middle.id, by="ann")
    assert await desk.claim_all(3) == []
    assert await held(desk, last) == first.task.id


async def test_nobody_waits_for_a_task_that_no_living_agent_could_take(desk: Desk) -> None:
    stuck = await desk.task(scope=["src/**"], profile="gpt")
    later = await desk.task(scope=["src/**"])
    await living(desk, "gpt-1", ago=1e6)
    await living(desk, "gpt-2", exclusive=True)
    assert f"waits for {stuck.id}" not in await desk.queue.why(later.id)
    assert ids(await desk.claim_all(2)) == [later.id]
    assert await desk.claim_all(2, profile="gpt") == []
    assert await held(desk, stuck) == later.id


@pytest.mark.parametrize("more", [{}, {"hosts": ["gpt"]}])
async def test_everybody_waits_for_a_task_that_a_living_agent_could_take(desk: Desk, more: dict[str, Any]) -> None:
    stuck = await desk.task(scope=["src/**"], profile="gpt")
    later = await desk.task(scope=["src/**"])
    await living(desk, *([] if more else ["gpt-1"]), **more)
    assert await desk.claim_all(2) == []
    assert await held(desk, later) == stuck.id
    assert f"waits for {stuck.id} 'do it', which goes first and changes src/** too" in await desk.queue.why(later.id)
    await desk.db.write(_leave.run)
    assert ids(await desk.claim_all(2)) == [later.id]


async def test_a_worker_for_one_task_does_not_wait_for_one_that_nobody_takes(desk: Desk) -> None:
    await desk.task(scope=["src/**"])
    mine = await desk.task(scope=["src/**"])
    assert ids(await desk.claim_all(only=[mine.id])) == [mine.id]


async def test_a_lost_word_is_made_good_by_the_next_claim_without_work(desk: Desk) -> None:
    first = await desk.running(scope=["src/**"])
    later = await desk.task(scope=["src/**"])
    assert await desk.claim_all() == []
    await desk.db.write(lambda conn: _end.run(conn, first.task.id))  # past everything that would let others go on
    assert ids(await desk.claim_all()) == [later.id]


async def test_needs_hold_for_a_task_that_was_held(desk: Desk) -> None:
    need = await desk.running()
    await desk.queue.finish(need, CHANGE)
    first = await desk.running(scope=["src/**"])
    both = await desk.task(scope=["src/**"], needs=[need.task.id])
    last = await desk.task(scope=["src/**"])
    assert await desk.claim_all(3) == []
    await desk.queue.retry(need.task.id, by="ann")
    await desk.queue.finish(first, None)
    assert (await desk.queue.get(both.id)).state is State.WAITING
    claims = await desk.claim_all(3)
    assert sorted(ids(claims)) == sorted([need.task.id, last.id])
    for claim in claims:
        await desk.queue.finish(claim, CHANGE)
    assert ids(await desk.claim_all(3)) == [both.id]


async def test_an_edited_task_is_judged_by_its_new_words(desk: Desk) -> None:
    first = await desk.running(prompt="mend src/a.py")
    task = await desk.task("mend src/a.py too")
    last = await desk.task("and src/a.py")
    assert await desk.claim_all(3) == []
    edited = await desk.queue.edit(task.id, Edit(prompt="mend src/b.py"), by="ann")
    assert (edited.predicted, edited.held_by, edited.state) == (("src/b.py",), None, State.QUEUED)
    assert ids(await desk.claim_all(3)) == [task.id]
    assert await held(desk, last) == first.task.id


async def test_an_order_that_was_changed_ties_no_knot(desk: Desk) -> None:
    first = await desk.running(scope=["src/**"])
    one = await desk.task(scope=["src/**"])
    two = await desk.task(scope=["src/**"])
    assert await desk.claim_all(3) == []
    await desk.queue.edit(one.id, Edit(priority=Priority.LOW), by="ann")
    await desk.queue.finish(first, None)
    for task in (two, one):
        [claim] = await desk.claim_all(3)
        assert claim.task.id == task.id
        await desk.queue.finish(claim, None)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgres
async def test_workers_that_claim_at_the_same_moment_start_one_task_of_those_that_overlap(
    desk: Desk, database_url: str
) -> None:
    """Four connections claim at once, each for a pool that the others take for one without agents.

    Without the lock of the project each of them would find its own task free to start.
    """
    desks = [Desk(await Database.open(database_url)) for _ in range(4)]
    scopes = [["src/**"], ["src/a.py"], ["src/b.py", "docs/**"], ["docs/**", "src/*.py"]]
    try:
        for _ in range(15):
            left = {(await desk.task(scope=scope, profile=f"p{n % 4}")).id for n, scope in enumerate(2 * scopes)}
            while left:
                found: list[list[Claim]] = await asyncio.gather(
                    *(one.queue.claim(f"w{n}", slots(2, f"p{n}")) for n, one in enumerate(desks))
                )
                claims = list(itertools.chain.from_iterable(found))
                for one, other in itertools.combinations(claims, 2):
                    assert common(one.task.scope, other.task.scope) is None, (one.task.scope, other.task.scope)
                for claim in claims:
                    left.discard(claim.task.id)
                    await desk.queue.finish(claim, None)
    finally:
        for one in desks:
            await one.db.close()
