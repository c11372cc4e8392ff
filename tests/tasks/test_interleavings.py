"""Random interleavings of everything that can happen to a queue: what must hold in the end, and at each step."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from tests.services import PostgresServer
from tests.tasks.desk import CHANGE, Desk, fold, slots

from ezaigent.core.errors import ConflictError, StaleFence
from ezaigent.store import Database, Sql
from ezaigent.tasks import MET, Claim, Priority, State, Task
from ezaigent.tasks.globs import common

_empty = [Sql(f"DELETE FROM {name}") for name in ("needs", "tasks", "runs", "events", "ledgers", "pauses", "messages")]  # noqa: S608
_open_runs = Sql("SELECT task_id, fence FROM runs WHERE ended_at IS NULL")
_WORKERS = st.sampled_from(["w1", "w2"])


_SRC = {"scope": ("src/**",)}
_FILES = st.sampled_from(
    [{}, {}, _SRC, _SRC | {"overlap": "allow"}, {"scope": ("docs/**", "src/a.py")}, {"prompt": "mend docs/b.md"}]
)


class QueueMachine(RuleBasedStateMachine):
    """Two workers and a person, in any order; leases end whenever they like."""

    desk: ClassVar[Desk]
    run: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]

    tasks = Bundle("tasks")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Task] = {}
        self.fences: dict[str, int] = {}
        self.holder: dict[str, int] = {}
        """Fence of the run that owns each running task."""

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return type(self).run(work)

    @initialize()
    def empty(self) -> None:
        self.do(self.desk.db.write(lambda conn: [statement.run(conn) for statement in _empty]))

    @rule(
        target=tasks,
        needs=st.lists(tasks, max_size=2),
        priority=st.sampled_from(Priority),
        repo=st.sampled_from(["/a", "/b"]),
        profile=st.sampled_from([None, None, "gpt"]),
        where=_FILES,
    )
    def submit(
        self, needs: list[str], priority: Priority, repo: str, profile: str | None, where: dict[str, Any]
    ) -> str:
        task: Task = self.do(
            self.desk.task(needs=tuple(needs), priority=priority, repo=repo, profile=profile, max_attempts=2, **where)
        )
        met = all(self.known[need].state in MET for need in needs)
        assert task.state == (State.QUEUED if met else State.WAITING)
        self.known[task.id] = task
        return task.id

    @rule(target=claims, worker=_WORKERS, count=st.integers(1, 3), profile=st.sampled_from(["claude", "gpt"]))
    def claim(self, worker: str, count: int, profile: str) -> Any:
        claimed: list[Claim] = self.do(self.desk.claim_all(count, worker=worker, profile=profile))
        assert len(claimed) <= count
        assert len({one.task.id for one in claimed}) == len(claimed)
        for one in claimed:
            assert one.fence > self.fences.get(one.task.id, 0), "the fence did not grow"
            assert one.task.profile in (None, profile)
            self.fences[one.task.id] = self.holder[one.task.id] = one.fence
        return multiple(*claimed)

    def owned(self, claim: Claim) -> bool:
        return self.known[claim.task.id].state == State.RUNNING and self.holder[claim.task.id] == claim.fence

    def end(self, claim: Claim, write: Callable[[], Coroutine[Any, Any, Task]]) -> None:
        if self.owned(claim):
            self.do(write())
        else:
            with pytest.raises(StaleFence):
                self.do(write())

    @rule(claim=consumes(claims), change=st.sampled_from([None, CHANGE]))
    def finish(self, claim: Claim, change: Any) -> None:
        self.end(claim, lambda: self.desk.queue.finish(claim, change))

    @rule(claim=consumes(claims), retryable=st.booleans())
    def fail(self, claim: Claim, retryable: bool) -> None:  # noqa: FBT001
        self.end(claim, lambda: self.desk.queue.fail(claim, "no", retryable=retryable))

    @rule(claim=consumes(claims))
    def release(self, claim: Claim) -> None:
        self.end(claim, lambda: self.desk.queue.release(claim, "drain"))

    @rule(claim=consumes(claims))
    def block(self, claim: Claim) -> None:
        self.end(claim, lambda: self.desk.queue.block(claim, "which?"))

    @rule(claim=claims)
    def late_twin(self, claim: Claim) -> None:
        """A run that ends and goes on writing: the second write is always too late."""
        self.end(claim, lambda: self.desk.queue.finish(claim, CHANGE))
        with pytest.raises(StaleFence):
            self.do(self.desk.queue.fail(claim, "late"))

    @rule(claim=claims)
    def heartbeat(self, claim: Claim) -> None:
        pulse = self.do(self.desk.queue.heartbeat(claim.worker, {claim.run_id: claim.fence}))
        assert (claim.run_id in pulse.lost) == (not self.owned(claim))
        if self.owned(claim):
            assert (claim.run_id in pulse.cancelled) == self.known[claim.task.id].cancel_requested

    @rule(task=tasks)
    def expire(self, task: str) -> None:
        self.do(self.desk.expire(task))

    @rule(task=tasks)
    def time_comes(self, task: str) -> None:
        self.do(self.desk.make_due(task))

    def decide(self, act: Coroutine[Any, Any, Task], *, allowed: frozenset[State], task: str) -> None:
        try:
            self.do(act)
        except ConflictError:
            waits = self.known[task].state == State.WAITING  # for others, which a retry cannot change
            assert self.known[task].state not in allowed or waits
        else:
            assert self.known[task].state in allowed

    @rule(task=tasks)
    def cancel(self, task: str) -> None:
        allowed = frozenset(State) - {State.DONE, State.FAILED}
        self.decide(self.desk.queue.cancel(task, by="ann"), allowed=allowed, task=task)

    @rule(task=tasks)
    def retry(self, task: str) -> None:
        allowed = frozenset(State) - {State.DONE, State.QUEUED, State.RUNNING}
        self.decide(self.desk.queue.retry(task, by="ann"), allowed=allowed, task=task)

    @rule(task=tasks)
    def approve(self, task: str) -> None:
        self.decide(self.desk.queue.approve(task, by="ann"), allowed=frozenset({State.REVIEW}), task=task)

    @invariant()
    def holds(self) -> None:
        stored: list[Task] = self.do(self.desk.queue.list(limit=1000))
        found = {task.id: task for task in stored}
        assert found.keys() == self.known.keys(), "a task was lost or invented"
        for task_id, task in found.items():
            before = self.known[task_id]
            assert task.fence >= before.fence, "the fence went back"
            assert (task.lease_until is not None) == (task.state == State.RUNNING)
            assert not (task.cancel_requested and task.state != State.RUNNING)
            assert task.attempts <= 2
            if before.state == State.WAITING and before.wake_at is None and task.state in (State.QUEUED, State.RUNNING):
                assert all(found[need].state in MET for need in task.needs), "it did not wait for its needs"
            assert (task.finished_at is not None) == task.state.settled
        self.overlaps_with_nothing(stored)
        waiting = [task for task in stored if task.state == State.WAITING and task.wake_at is None]
        waiting = [task for task in waiting if task.held_by is None]
        for task in waiting:
            assert any(found[need].state not in MET for need in task.needs), "it waits for nothing"
        self.known = found
        events = self.do(self.desk.events())
        assert fold(events) == {task.id: task.state for task in stored}, "the events tell another story"
        open_runs = self.do(self.desk.db.read(lambda conn: set(map(tuple, _open_runs.all(conn)))))
        running = {(task.id, task.fence) for task in stored if task.state == State.RUNNING}
        assert open_runs == running, "runs and running tasks differ"

    def overlaps_with_nothing(self, stored: list[Task]) -> None:
        """No two that change the same files run together, and who is held waits for one that will let it go on."""
        found = {task.id: task for task in stored}
        running = [task for task in stored if task.state == State.RUNNING and task.overlap == "wait"]
        for one, other in itertools.combinations(running, 2):
            both = common(one.scope or one.predicted, other.scope or other.predicted)
            assert one.repo != other.repo or both is None, "two that change the same files run"
        for task in stored:
            first = found[task.held_by] if task.held_by is not None else None
            assert first is None or task.state == State.WAITING
            assert first is None or first.state in (State.RUNNING, State.QUEUED) or first.held_by is not None
            for _ in stored:  # nobody waits for himself by way of others
                first = found[first.held_by] if first is not None and first.held_by is not None else None
            assert first is None, "they wait for each other"

    def teardown(self) -> None:
        if self.known:
            self.do(self.drain())

    async def drain(self) -> None:
        """Nothing is lost: with agents that finish, everything that can end does."""
        for _ in range(3 * len(self.known) + 3):
            await self.desk.expire(*self.known)
            await self.desk.make_due(*self.known)
            for profile in ("gpt", "claude"):
                for claim in await self.desk.queue.claim("end", slots(9, profile)):
                    await self.desk.queue.finish(claim, None)
        left = {task.id: task for task in await self.desk.queue.list(limit=1000) if not task.state.settled}
        ended = {task.id: task.state for task in await self.desk.queue.list(limit=1000)}
        for task in left.values():
            stuck = any(ended[need] not in MET for need in task.needs)
            assert task.state == State.BLOCKED or (task.state == State.WAITING and stuck), task


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def machine(request: pytest.FixtureRequest) -> Iterator[type[QueueMachine]]:
    """The machine on one database, which each example empties: opening one costs more than an example."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        server: PostgresServer | None = None
        url = f"sqlite:///{Path(folder) / 'store.db'}"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            assert isinstance(server, PostgresServer)
            url = server.create_database()
        desk = Desk(runner.run(Database.open(url)), backoff=60)

        class OnThisDatabase(QueueMachine):
            pass

        OnThisDatabase.desk, OnThisDatabase.run = desk, staticmethod(runner.run)
        yield OnThisDatabase
        runner.run(desk.db.close())
        if server is not None:
            server.drop_database(url)


def test_invariants_hold_in_every_order(machine: type[QueueMachine]) -> None:
    run_machine(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
