"""A worker that is alive and claims nothing though there is work for it: it begins anew, a few times, and says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.fleet.scene import Scene
from tests.services import until

from ezaigent.core.settings import QueueSettings
from ezaigent.fleet import WorkerInfo, queries, seats
from ezaigent.fleet.recovery.idleness import ANEW, NOTHING, OTHERS, TIMES, IdleWatch, Overlooked, overlooked
from ezaigent.store import Database, Sql
from ezaigent.tasks import NewTask, Slot, State, TaskQueue
from ezaigent.wiring import Fleet

FOUND = Overlooked("task", 100.0, "claude-1")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    database = await Database.open(url)
    yield database
    await database.close()


async def enter(db: Database, name: str, pools: dict[str, int]) -> None:
    """Let a worker host agents that are ready."""
    info = WorkerInfo(id=name, host="here", pid=1, version="1", sandbox="off")
    named = await db.write(lambda conn: queries.register(conn, info, pools))
    await db.write(lambda conn: seats.ready(conn, name, named.agents))


async def waited(db: Database, seconds: float) -> None:
    """Let all queued tasks have waited for so long."""
    age = Sql("UPDATE tasks SET queued_at = {now} - CAST($1 AS double precision) WHERE state = 'queued'")
    await db.write(lambda conn: age.run(conn, seconds))


async def found(db: Database, *, left_alone: tuple[str, ...] = ()) -> Overlooked | None:
    return await db.read(lambda conn: overlooked(conn, "w", general=["claude"], left_alone=left_alone, after=60.0))


async def test_a_task_is_overlooked_when_it_has_waited_and_an_idle_agent_could_take_it(db: Database) -> None:
    queue = TaskQueue(db, QueueSettings())
    await enter(db, "w", {"claude": 1})
    assert await found(db) is None, "nothing waits"
    task = await queue.submit(NewTask(prompt="One.", repo="/r"))
    await waited(db, 59)
    assert await found(db) is None, "not long enough"
    await waited(db, 90)
    overlooked_task = await found(db)
    assert overlooked_task is not None
    assert (overlooked_task.task, overlooked_task.agent) == (task.id, "claude-1")
    assert overlooked_task.waited >= 90
    assert await found(db, left_alone=(task.id,)) is None, "it is left to the others on purpose"

    await queue.pause("claude", by="ann")
    assert await found(db) is None, "who is held may not"
    await queue.resume("claude", by="ann")
    await db.write(lambda conn: seats.leave(conn, ["claude-1"], "it goes", recallable=True))
    assert await found(db) is None, "who leaves does not"
    await db.write(lambda conn: seats.recall(conn, ["claude-1"]))
    assert await found(db) is not None

    [claim] = await queue.claim("w", [Slot(agent="claude-1", profile="claude")])
    await queue.submit(NewTask(prompt="Two.", repo="/r"))
    await waited(db, 90)
    assert await found(db) is None, "its only agent is busy"
    await queue.finish(claim, None)
    assert await found(db) is not None


async def test_a_task_for_others_is_not_overlooked(db: Database) -> None:
    queue = TaskQueue(db, QueueSettings())
    await enter(db, "other", {"gpt": 1})
    await enter(db, "w", {"expert": 1})
    await queue.submit(NewTask(prompt="One.", repo="/r", profile="gpt"))
    await queue.submit(NewTask(prompt="Two.", repo="/r"))
    await waited(db, 90)
    assert await found(db) is None, "it has no agent of that profile, and none for general work"


def acts(watch: IdleWatch, looks: int, *, claims: int = 0, passed: float = 15.0) -> list[str]:
    actions = [watch.look(FOUND, claims, passed) for _ in range(looks)]
    return [action for action in actions if action is not None]


def test_a_worker_that_claims_nothing_begins_anew_a_few_times_and_then_leaves_it_to_others() -> None:
    watch = IdleWatch(60.0, OTHERS)
    assert acts(watch, 3) == []
    assert acts(watch, 1) == [ANEW]
    assert acts(watch, 100) == [ANEW] * (TIMES - 1) + [OTHERS], "bounded"


def test_a_claim_or_an_empty_queue_begins_the_count_anew() -> None:
    watch = IdleWatch(60.0, OTHERS)
    acts(watch, 3)
    assert watch.look(None, 0, 15.0) is None
    assert acts(watch, 3) == []
    assert acts(watch, 3, claims=1) == [], "it has claimed meanwhile"
    assert acts(watch, 100, claims=1)[-1] == OTHERS
    assert watch.look(FOUND, 2, 15.0) is None
    assert acts(watch, 4, claims=2) == [ANEW], "it had recovered"


def test_what_passed_while_the_watcher_stood_still_is_nobodys_fault() -> None:
    watch = IdleWatch(60.0, OTHERS)
    assert acts(watch, 1, passed=3600.0) == []
    assert acts(watch, 1, passed=3600.0) == [ANEW], "two looks at least"


class Deaf:
    """A queue that gives this worker nothing."""

    def __init__(self, queue: TaskQueue, patch: pytest.MonkeyPatch, *, until_read_anew: bool) -> None:
        self.mended = False
        claim, pauses = queue.claim, queue.pauses

        async def nothing(*args: Any, **options: Any) -> Any:
            return await claim(*args, **options) if self.mended else []

        async def read_anew() -> Any:
            self.mended = self.mended or until_read_anew
            return await pauses()

        patch.setattr(queue, "claim", nothing)
        patch.setattr(queue, "pauses", read_anew)


async def acted(fleet: Fleet) -> list[str]:
    events = await fleet.services.events.read(0, 1000, kinds=["recovery.acted"])
    assert all("has waited for" in event.data["reason"] for event in events)
    assert {event.data["what"] for event in events} <= {"claims nothing"}
    return [event.data["action"] for event in events]


async def test_a_worker_whose_memory_is_wrong_claims_again_after_it_began_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.more = {"recovery": {"idle": 0.5}}
    async with scene.working() as fleet:
        Deaf(fleet.services.queue, monkeypatch, until_read_anew=True)
        handle = await fleet.submit("Write the log.", scene.repo)
        assert (await handle.settled(timeout=60)).state is State.REVIEW
        assert await acted(fleet) == [ANEW]


async def test_what_is_tried_is_bounded_and_a_worker_that_is_right_again_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.more = {"recovery": {"idle": 0.5}}
    async with scene.working() as fleet:
        deaf = Deaf(fleet.services.queue, monkeypatch, until_read_anew=False)
        handle = await fleet.submit("Write the log.", scene.repo)

        async def over() -> bool:
            return (await acted(fleet))[-1:] == [NOTHING]

        await until(over, within=30, what="nothing more is tried")
        deaf.mended = True
        assert (await handle.settled(timeout=60)).state is State.REVIEW
        assert await acted(fleet) == [*[ANEW] * TIMES, NOTHING]


async def test_a_launchers_worker_leaves_its_agents_to_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.more = {"recovery": {"idle": 0.5}}
    async with Fleet.embedded(settings=scene.settings, agents={}, hosts=["claude"], room=2) as deaf:
        await deaf.services.db.write(lambda conn: seats.order(conn, "claude", 1))

        async def hosts(fleet: Fleet) -> bool:
            assert fleet.worker is not None
            return fleet.worker.info.agents == ("claude-1",)

        await until(lambda: hosts(deaf), within=30, what="it hosts the agent")
        Deaf(deaf.services.queue, monkeypatch, until_read_anew=False)
        handle = await deaf.submit("Write the log.", scene.repo)
        async with Fleet.embedded(settings=scene.settings, agents={}, hosts=["claude"], room=2) as other:
            task = await handle.settled(timeout=60)
            assert task.state is State.REVIEW
            assert await hosts(other)
            assert other.worker is not None
            assert task.worker == other.worker.info.id
            assert await acted(other) == [*[ANEW] * TIMES, OTHERS]
