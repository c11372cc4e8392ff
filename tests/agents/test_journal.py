"""The journal of a run: counted, guarded by the fence, and as small as what each step came to."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from ezaigent.agents import Journal, Step
from ezaigent.agents.journal import Finished, JournalMismatch, RunJournal
from ezaigent.agents.meter import Meter
from ezaigent.core.errors import StaleFence
from ezaigent.core.settings import QueueSettings
from ezaigent.costs import CallRecord
from ezaigent.store import Database, EventLog, Sql
from ezaigent.tasks import Claim, NewTask, Slot, TaskQueue


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    database = await Database.open(url)
    yield database
    await database.close()


@pytest.fixture
def queue(db: Database) -> TaskQueue:
    return TaskQueue(db, QueueSettings(backoff=0))


async def claimed(queue: TaskQueue) -> Claim:
    [claim] = await queue.claim("w", [Slot(agent="claude-1", profile="claude")])
    return claim


async def begun(queue: TaskQueue) -> Claim:
    await queue.submit(NewTask(prompt="Do it.", repo="/r"))
    return await claimed(queue)


async def append(journal: RunJournal, *payloads: bytes) -> None:
    for payload in payloads:
        await journal.append("run__tool", "tool", Finished(payload, "shell"), started=time.monotonic())


async def test_each_step_is_counted_in_its_task_and_in_its_run(db: Database, queue: TaskQueue) -> None:
    first = await begun(queue)
    await append(RunJournal(db, first, []), b"1", b"2")
    assert (await queue.get(first.task.id)).steps == 2

    await queue.reclaim()
    second = await claimed(queue)
    records = await Journal(db).load(second.task.id, second.task.session)
    journal = RunJournal(db, second, records)
    assert [journal.recall("run__tool", "tool", "shell") for _ in records] == [b"1", b"2"]
    await append(journal, b"3")

    assert journal.steps == 3
    assert (await queue.get(first.task.id)).steps == 3, "a replayed step is not counted again"
    runs = await db.read(Sql("SELECT id, steps FROM runs ORDER BY fence").all)
    assert [tuple(row) for row in runs] == [(first.run_id, 2), (second.run_id, 1)]
    assert (await queue.finish(second, None)).steps == 3


async def test_a_run_that_lost_its_task_leaves_nothing(db: Database, queue: TaskQueue) -> None:
    first = await begun(queue)
    meter, steps = Meter(), list[Step]()
    late = RunJournal(db, first, [], meter=meter, on_step=steps.append)
    await queue.reclaim()
    second = await claimed(queue)
    before = await EventLog(db).head()

    meter.add(CallRecord(provider="openai", model="gpt-test", input_tokens=5), None)
    with pytest.raises(StaleFence):
        await append(late, b"late")
    with pytest.raises(StaleFence):
        await late.forget()
    late.note("run.failover", {"from": "a:b", "to": "c:d", "reason": "quota"})
    await late.close()  # has nothing more to say, and says so to nobody

    assert steps == []
    assert await Journal(db).load(second.task.id, second.task.session) == []
    assert (await queue.get(first.task.id)).steps == 0
    assert await EventLog(db).head() == before
    assert await db.read(Sql("SELECT steps FROM runs").all) == [(0,), (0,)]


async def test_a_step_is_as_large_as_its_own_result_however_long_the_history(db: Database, queue: TaskQueue) -> None:
    claim = await begun(queue)
    journal = RunJournal(db, claim, [])
    await append(journal, *(b"x" * 500 for _ in range(150)))
    sizes = await db.read(Sql("SELECT length(payload) + length(name) FROM journal ORDER BY seq").all)
    events = await db.read(Sql("SELECT length(CAST(data AS text)) FROM events WHERE kind = 'run.step'").all)
    assert {size for (size,) in sizes} == {509}
    assert max(size for (size,) in events) - min(size for (size,) in events) <= 6, "only numbers may grow"


async def test_another_step_than_the_recorded_one_is_told_and_the_journal_can_begin_anew(
    db: Database, queue: TaskQueue
) -> None:
    claim = await begun(queue)
    await append(RunJournal(db, claim, []), b"1")
    journal = RunJournal(db, claim, await Journal(db).load(claim.task.id, 1))
    assert journal.replaying
    assert journal.upcoming() == "run__tool"
    with pytest.raises(JournalMismatch, match="step 0 is recorded as 'run__tool', now it is 'run__model'"):
        journal.recall("run__model", "model", "model")
    await journal.forget()
    assert not journal.replaying
    assert journal.upcoming() is None
    await append(journal, b"anew")
    assert [record.payload for record in await Journal(db).load(claim.task.id, 1)] == [b"anew"]


async def test_notes_and_lost_calls_are_written_without_a_step(db: Database, queue: TaskQueue) -> None:
    claim, meter = await begun(queue), Meter()
    journal = RunJournal(db, claim, [], meter=meter)
    meter.add_failed("lost", provider="openai", model="gpt-test", reservation=None)
    journal.note("run.failover", {"from": "a:b", "to": "c:d", "reason": "quota"})
    await journal.close()
    [event] = await EventLog(db).read(0, kinds=["run.failover"])
    assert (event.agent, event.data["reason"]) == ("claude-1", "quota")
    assert await db.read(Sql("SELECT step, outcome, cost_nusd FROM usage").all) == [(0, "lost", None)]
