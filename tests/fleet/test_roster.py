"""Who is there: names, statuses, and workers that have died."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ezaigent.core.change import Change
from ezaigent.core.errors import NotFoundError, StoreUnavailable, UnavailableError
from ezaigent.core.settings import QueueSettings
from ezaigent.costs import CallRecord, Outcome, Totals, settle
from ezaigent.fleet import Hosting, Peers, Roster, TaskView, WorkerInfo, liveness, profile_of, queries, seats
from ezaigent.fleet.leader import LAUNCHING, Election
from ezaigent.fleet.models import Parked
from ezaigent.live import MemoryBus
from ezaigent.store import Database, emit
from ezaigent.tasks import NewTask, Slot, State, Task, TaskQueue


async def worker(db: Database, name: str, locks: Path, agents: int) -> Hosting:
    """Enter a worker that has just started in place of the dead ones."""
    await Peers(db=db, bus=MemoryBus(), worker=name, lease=60, locks=locks).clear()
    info = WorkerInfo(id=name, host="here", pid=os.getpid(), version="1", sandbox="off")
    hosting = Hosting(db, info, {"claude": agents}, {"claude"}, lease=60)
    await hosting.enter()
    assert hosting.slots == {}
    await hosting.look(())
    assert tuple(hosting.slots) == hosting.info.agents
    return hosting


async def test_agents_get_the_lowest_free_names_and_show_what_they_do(tmp_path: Path) -> None:
    db = await Database.open(f"sqlite:///{tmp_path}/store.db")
    try:
        locks = tmp_path / "workers"
        queue, roster = TaskQueue(db, QueueSettings(lease=60)), Roster(db, locks)
        with pytest.raises(NotFoundError, match="there are: none"):
            await roster.named("claude")
        with liveness.hold(locks, "one"):
            first = await worker(db, "one", locks, 2)
            assert first.info.agents == ("claude-1", "claude-2")
            with liveness.hold(locks, "two"):
                assert (await worker(db, "two", locks, 1)).info.agents == ("claude-3",)
                assert [one.id for one in await roster.workers()] == ["one", "two"]

            task = await queue.submit(NewTask(prompt="Do it.", repo=str(tmp_path)))
            await queue.claim("one", [first.slots["claude-1"]])
            await queue.pause("claude-2", by="me")
            await queue.pause("gpt-7", by="me")
            shown = [(view.name, view.status, view.task_id, view.worker) for view in await roster.agents()]
            assert shown == [
                ("claude-1", "active", task.id, "one"),
                ("claude-2", "paused", None, "one"),
                ("claude-3", "offline", None, "two"),
                ("gpt-7", "offline", None, None),
            ], "of the worker whose lock is free nobody works"
            assert await roster.named("claude") == ["claude-1", "claude-2", "claude-3"]
            assert await roster.named("all") == ["claude-1", "claude-2", "claude-3", "gpt-7"]

        with liveness.hold(locks, "three"):
            assert (await worker(db, "three", locks, 1)).info.agents == ("claude-1",), "a dead worker's names are free"
    finally:
        await db.close()


async def test_each_worker_is_judged_by_the_lease_that_it_announced(db: Database) -> None:
    roster = Roster(db, None)

    async def enter(name: str, lease: float, silent: float) -> None:
        info = WorkerInfo(id=name, host="here", pid=1, version="1", sandbox="off", lease=lease)
        await db.write(lambda conn: queries.register(conn, info, {"claude": 1}))
        await db.write(lambda conn: queries.seen(conn, name, silent))

    await enter("hasty", 10, 30)
    await enter("patient", 600, 500)
    await enter("gone", 600, 1000)
    assert [one.id for one in await roster.workers()] == ["patient"]
    views = await roster.agents()
    assert [(view.name, view.worker) for view in views if view.status != "offline"] == [("claude-2", "patient")]
    assert {view.worker: view.status for view in views if view.worker != "patient"} == {
        "hasty": "offline",
        "gone": "offline",
    }
    assert await db.read(lambda conn: queries.silent(conn, queries.SILENCE)) == ["gone", "hasty"]
    every = ["gone", "hasty", "patient"]
    lost = await db.write(lambda conn: queries.lose(conn, every, "silent", by="me", leases=queries.SILENCE))
    assert sorted(lost) == ["gone", "hasty"]


async def test_who_could_not_work_now_is_offline_until_somebody_could_have_it(db: Database) -> None:
    queue, roster = TaskQueue(db, QueueSettings(lease=60)), Roster(db, None)
    info = WorkerInfo(id="one", host="here", pid=1, version="1", sandbox="off", lease=60, hosts=("gpt",))
    await db.write(lambda conn: queries.register(conn, info, {"claude": 1}))
    await db.write(lambda conn: seats.ready(conn, "one", ["claude-1"]))
    for profile in ("mistral", "gpt"):
        await db.write(lambda conn, profile=profile: seats.order(conn, profile, 1))
    task = await queue.submit(NewTask(prompt="Do it.", repo="/r"))
    await queue.claim("one", [Slot(agent="claude-1", profile="claude")])
    await queue.pause("gpt-1", by="me")

    async def shown() -> dict[str, str]:
        return {view.name: view.status for view in await roster.agents()}

    assert await shown() == {"claude-1": "active", "mistral-1": "offline", "gpt-1": "paused"}
    await queue.resume("gpt-1", by="me")
    assert await shown() == {"claude-1": "active", "mistral-1": "offline", "gpt-1": "starting"}
    term = await Election(db, LAUNCHING, "launcher", lease=600).campaign()
    assert term is not None
    assert (await shown())["mistral-1"] == "starting", "a worker is started for it"
    await Election(db, LAUNCHING, "launcher", lease=600).resign(term)

    await db.write(lambda conn: queries.seen(conn, "one", 61))
    views = {view.name: view for view in await roster.agents()}
    assert {view.status for view in views.values()} == {"offline"}, "its lease is as old as the word of its worker"
    silent = views["claude-1"]
    assert (silent.worker, silent.task_id, silent.sandbox) == ("one", task.id, "off")
    assert silent.seen_at is not None
    await db.write(lambda conn: queries.lose(conn, ["one"], "silent", by="me"))
    assert await shown() == {"mistral-1": "offline", "gpt-1": "offline"}, "it was pinned to its worker"


async def test_an_agent_is_shown_with_the_model_that_its_present_run_uses(db: Database) -> None:
    queue, roster = TaskQueue(db, QueueSettings(lease=60)), Roster(db, None)
    info = WorkerInfo(id="one", host="here", pid=1, version="1", sandbox="off")
    await db.write(lambda conn: queries.register(conn, info, {"claude": 2}))
    await queue.submit(NewTask(prompt="Do it.", repo="/r"))
    [claim] = await queue.claim("one", [Slot(agent="claude-1", profile="claude")])

    async def shown() -> str | None:
        first, second = await roster.agents()
        assert second.model is None, "it has no task"
        return first.model

    async def call(provider: str, outcome: Outcome = "ok") -> None:
        record = CallRecord(provider=provider, model="large", cost_nusd=0, outcome=outcome)
        await db.write(lambda conn: settle(conn, claim, [(record, None)], step=0))

    async def fail_over(to: str, run: str = claim.run_id) -> None:
        data = {"from": "a:large", "to": to, "reason": "overload"}
        await db.write(
            lambda conn: emit(conn, "run.failover", task_id=claim.task.id, run_id=run, agent="claude-1", data=data)
        )

    assert await shown() is None
    await fail_over("z:large", run="an-earlier-run")
    await call("a", "refused")
    assert await shown() is None, "it is asked again"
    await fail_over("b:large")
    assert await shown() == "b:large"
    await call("b")
    await call("b", "lost")
    assert await shown() == "b:large"
    await fail_over("c:large")
    assert await shown() == "c:large", "before it has answered"
    await call("c")
    assert await shown() == "c:large"
    for step in range(100):
        await db.write(lambda conn, step=step: emit(conn, "run.step", task_id=claim.task.id, data={"step": step}))
    await call("c", "lost")
    assert await shown() == "c:large", "however long ago it began with it"


async def test_what_a_worker_says_of_parked_models_is_said_again_until_it_is_written(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = WorkerInfo(id="one", host="here", pid=1, version="1", sandbox="off")
    hosting = Hosting(db, info, {"claude": 1}, {"claude"}, lease=60)
    await hosting.enter()
    await hosting.look(())
    parked = {"claude": Parked(reason="no money", until=None)}

    def away(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as broken:
        broken.setattr(queries, "note", away)
        with pytest.raises(StoreUnavailable):
            await hosting.note_parked(parked)
    for said in (parked, {}):
        await hosting.note_parked(said)
        [shown] = await Roster(db, None).workers()
        assert shown.parked == hosting.info.parked == said


def test_a_worker_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    with liveness.hold(tmp_path, "one"):
        (tmp_path / "dead.lock").touch()
        assert liveness.alive(tmp_path) == {"one"}
        assert not (tmp_path / "dead.lock").exists()
    assert liveness.alive(tmp_path) == frozenset()
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be written"), liveness.hold(tmp_path / "file", "one"):
        pass


def test_a_task_is_shown_with_what_it_cost() -> None:
    change = Change(branch="ezaigent/1", commit="c", tree="t", base="b", files=1)
    task = Task.model_validate(
        {
            "id": "1", "state": "review", "title": "T", "prompt": "P", "repo": "/r", "project": "/r",
            "priority": 1, "created_at": 1.0, "updated_at": 9.0, "started_at": 2.0, "finished_at": 9.0,
            "budget_nusd": 2_000_000_000, "change": change,
        }
    )  # fmt: skip
    known = TaskView.of(task, Totals(calls=1, input_tokens=5, cache_read_tokens=2, output_tokens=3, cost_nusd=10**9))
    assert (known.state, known.priority, known.branch, known.commit) == ("review", "high", "ezaigent/1", "c")
    assert (known.cost_usd, known.budget_usd, known.seconds) == (1.0, 2.0, 7.0)
    assert (known.usage.input_tokens, known.usage.cache_read_tokens, known.usage.output_tokens) == (5, 2, 3)
    unknown = TaskView.of(task, Totals(calls=2, cost_nusd=5, unknown_calls=1))
    assert unknown.cost_usd is None, "an unknown price is not a small one"
    running = TaskView.of(task.model_copy(update={"state": State.RUNNING, "change": None}), Totals())
    assert (running.branch, running.finished_at, running.seconds) == (None, None, None)


def test_a_profile_is_the_name_without_its_number() -> None:
    assert profile_of("my-own-12") == "my-own"
