"""The journal of a run: counted, guarded by the fence, and as small as what each step came to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ezaigent.agents import Journal, Step
from ezaigent.agents.journal import Finished, JournalMismatch, RunJournal
from ezaigent.agents.meter import Meter
from ezaigent.core.errors import StaleFence, StoreUnavailable
from ezaigent.core.settings import QueueSettings
from ezaigent.costs import CallRecord
from ezaigent.store import Connection, Database, EventLog, Sql
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
    runs = await db.read(Sql("SELECT fence, count(*) FROM journal GROUP BY fence ORDER BY fence").all)
    assert [tuple(row) for row in runs] == [(first.fence, 2), (second.fence, 1)]
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
    first = RunJournal(db, claim, [])
    done = Finished(b"1", "shell")
    await first.append("run__tool", "tool", done, started=time.monotonic(), checkpoint="c0ffee")
    journal = RunJournal(db, claim, await Journal(db).load(claim.task.id, 1))
    assert journal.replaying
    assert journal.upcoming() == "run__tool"
    with pytest.raises(JournalMismatch, match="step 0 is recorded as 'run__tool', now it is 'run__model'"):
        journal.recall("run__model", "model", "model")
    await journal.forget()
    assert not journal.replaying
    assert journal.upcoming() is None
    await append(journal, b"anew")

    again = RunJournal(db, claim, await Journal(db).load(claim.task.id, 1))
    assert again.restarted
    assert again.checkpoint == await Journal(db).last_checkpoint(claim.task.id, 1) == "c0ffee", "the tree is kept"
    assert again.recall("run__tool", "tool", "shell") == b"anew"
    assert not again.replaying


class Away:
    """A database whose commits get lost, or are made without an answer, before it works again."""

    def __init__(self, db: Database, *outages: bool) -> None:
        self._db = db
        self._outages = list(outages)
        """Whether each of the first writes is made before the answer is lost."""

    async def write(self, fn: Callable[[Connection], Any], *, single: bool = False) -> Any:
        made = self._outages.pop(0) if self._outages else None
        if made is not False:
            result = await self._db.write(fn, single=single)
            if made is None:
                return result
        raise StoreUnavailable("away")


@pytest.mark.parametrize("outages", [(False,), (True,), (False, True), (False, False)])
async def test_a_finished_step_is_written_once_however_the_store_comes_and_goes(
    db: Database, queue: TaskQueue, outages: tuple[bool, ...]
) -> None:
    claim, meter = await begun(queue), Meter()
    journal = RunJournal(cast("Database", Away(db, *outages)), claim, [], meter=meter)
    meter.add(CallRecord(provider="openai", model="gpt-test", input_tokens=5, cost_nusd=7), None)
    await append(journal, b"paid for")
    await append(journal, b"next")
    assert [one.payload for one in await Journal(db).load(claim.task.id, 1)] == [b"paid for", b"next"]
    assert await db.read(Sql("SELECT step, input_tokens, cost_nusd FROM usage").all) == [(0, 5, 7)]
    assert [one.data["step"] for one in await EventLog(db).read(0, kinds=["run.step"])] == [0, 1]


async def test_what_a_cancelled_step_used_is_written_by_the_next(db: Database, queue: TaskQueue) -> None:
    claim, meter = await begun(queue), Meter()
    journal = RunJournal(cast("Database", Away(db, *[False] * 99)), claim, [], meter=meter)
    meter.add(CallRecord(provider="openai", model="gpt-test", input_tokens=5, cost_nusd=7), None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await append(journal, b"lost")
    last = RunJournal(db, claim, [], meter=meter)
    await last.close()
    assert await db.read(Sql("SELECT input_tokens, cost_nusd FROM usage").all) == [(5, 7)]
    assert await Journal(db).load(claim.task.id, 1) == []


async def test_notes_and_lost_calls_are_written_without_a_step(db: Database, queue: TaskQueue) -> None:
    claim, meter = await begun(queue), Meter()
    journal = RunJournal(db, claim, [], meter=meter)
    meter.add_failed("lost", provider="openai", model="gpt-test", reservation=None)
    journal.note("run.failover", {"from": "a:b", "to": "c:d", "reason": "quota"})
    await journal.close()
    [event] = await EventLog(db).read(0, kinds=["run.failover"])
    assert (event.agent, event.data["reason"]) == ("claude-1", "quota")
    assert await db.read(Sql("SELECT step, outcome, cost_nusd FROM usage").all) == [(0, "lost", None)]


async def test_a_note_is_told_by_the_databases_clock(
    db: Database, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await begun(queue)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    journal = RunJournal(db, claim, [])
    journal.note("run.provider_error", {"kind": "rate_limit"})
    await journal.close()
    events = await EventLog(db).read(0)
    assert events[-1].kind == "run.provider_error"
    assert events[-1].at - events[0].at < 1800, "the autoscaler counts refusals by the time of the database"
