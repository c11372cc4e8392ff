"""The queue: submit, claim, settle, steer. Each method is one transaction; doorbells ring after its commit."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from ezaigent.core.change import Change
from ezaigent.core.errors import ConflictError, NotFoundError, StaleFence, UsageError
from ezaigent.core.settings import QueueSettings
from ezaigent.live import LiveBus
from ezaigent.store import Connection, Database, NewEvent, now
from ezaigent.tasks import (
    attempts,
    browsing,
    claiming,
    editing,
    holding,
    messages,
    moves,
    parking,
    pausing,
    queries,
    settling,
    submitting,
    why,
)
from ezaigent.tasks.attempts import Run
from ezaigent.tasks.editing import Edit
from ezaigent.tasks.history import History
from ezaigent.tasks.models import GENERAL, Claim, Message, NewTask, Pulse, QueueStats, Slot, State, Task
from ezaigent.tasks.pausing import Pauses
from ezaigent.tasks.rows import FullRow, TaskRow, as_task, renewed

_TOGETHER: Final = 500
"""Tasks that are cancelled in one transaction, so that no claim waits long for it."""


def bell(profile: str | None) -> str:
    """Return the doorbell of a profile's tasks, or of the tasks that name none."""
    return f"bell:{profile or GENERAL}"


class TaskQueue:
    """The durable queue. Every method raises ``UnavailableError`` when the store cannot be used.

    Methods of a run raise ``StaleFence`` when a later run owns the task; nothing was written then.
    """

    def __init__(
        self,
        db: Database,
        settings: QueueSettings,
        bus: LiveBus | None = None,
        default_budget_nusd: int | None = None,
    ) -> None:
        """``default_budget_nusd`` caps tasks that name no budget; without a ``bus`` workers find work by looking."""
        self._db = db
        self._settings = settings
        self._bus = bus
        self._default_budget = default_budget_nusd
        self._history = History()

    # ------------------------------------------------------------------------------------------ submitting

    async def submit(self, new: NewTask, *, by: str | None = None) -> Task:
        """Queue a task; it is durable when this returns. A key that is known already returns its task.

        ``by`` is who asked for it; None: a program that does not say. Raises ``NotFoundError`` for a need that does not
        exist.
        """
        return (await self.submit_many([new], by=by))[0]

    async def submit_many(self, new: Sequence[NewTask], *, by: str | None = None) -> list[Task]:
        """Queue tasks in one transaction, all or none; needs may name keys of the same batch.

        Raises ``UsageError`` for needs in a circle, naming it, and ``NotFoundError`` for an unknown need.
        """
        if len(new) > submitting.MOST:
            raise UsageError(f"{len(new)} tasks in one submit; submit at most {submitting.MOST} at a time")
        submitting.refuse_circles(new)

        def submit(conn: Connection) -> submitting.Submitted:
            return submitting.submit(
                conn,
                new,
                by=by,
                default_budget=self._default_budget,
                overlap=self._settings.overlap,
                past=self._history,
            )

        while True:
            try:
                done = await self._db.write(submit)
            except submitting.KeyTaken:
                continue  # the other process has committed: now its task is found by the key
            await self._ring(row for row in done.new if row.state == State.QUEUED)
            return [as_task(row) for row in done.rows]

    # ------------------------------------------------------------------------------------------ runs

    async def claim(
        self,
        worker: str,
        slots: Sequence[Slot],
        *,
        only: Collection[str] | None = None,
        avoid: Collection[str] = (),
        admitted: Callable[[Connection], bool] | None = None,
    ) -> list[Claim]:
        """Claim a task for each idle agent, as far as there are any; ``only`` restricts it to these task ids.

        Those to ``avoid`` are left to other workers. Nothing is claimed unless the worker is ``admitted``: asked
        in the same transaction, it must wait for no lock.
        """
        if not slots:
            return []
        settings = self._settings

        def transaction(conn: Connection) -> list[Claim]:
            if admitted is not None and not admitted(conn):
                return []
            return claiming.claim(conn, worker, slots, settings, only=only, avoid=avoid)

        return await self._db.write(transaction, apart=True)

    async def heartbeat(self, worker: str, runs: Mapping[str, int]) -> Pulse:
        """Prolong the leases of these runs (fence by run id) and say which are lost or to be cancelled."""
        if not runs:
            return Pulse()
        ids = [run_id.rpartition("-")[0] for run_id in runs]
        held = await self._db.write(lambda conn: queries.renew(conn, worker, ids, list(runs), self._settings.lease))
        return Pulse(
            lost=frozenset(run_id for run_id, fence in runs.items() if run_id not in held or held[run_id][0] != fence),
            cancelled=frozenset(run_id for run_id, (_, cancelled) in held.items() if cancelled),
        )

    async def finish(self, claim: Claim, change: Change | None) -> Task:
        """End a run that succeeded: ``review`` with a change, ``done`` when there was nothing to change."""
        task = await self._end(claim, settling.finish({claim.run_id: change}))
        if change is not None:
            self._history.clear()
        return task

    async def finish_many(self, items: Iterable[tuple[Claim, Change | None]]) -> list[Task | StaleFence]:
        """End many runs in one transaction; a run that comes too late gets its ``StaleFence`` and stops no other."""
        changes = {claim.run_id: (claim, change) for claim, change in items}
        claims = [claim for claim, _ in changes.values()]
        move = settling.finish({run_id: change for run_id, (_, change) in changes.items()})
        results, woken = await self._db.write(lambda conn: settling.settle(conn, claims, move))
        if any(change is not None for _, change in changes.values()):
            self._history.clear()
        await self._ring(woken)
        return [
            result if isinstance(result, StaleFence) else renewed(claim.task, result)
            for claim, result in zip(claims, results, strict=True)
        ]

    async def fail(self, claim: Claim, reason: str, *, retryable: bool = True, stuck: bool = False) -> Task:
        """End a run that failed: the next attempt waits (exponential backoff, full jitter), or a dead letter.

        ``stuck`` says that it went in circles.
        """
        return await self._end(claim, settling.fail(self._settings, reason, retryable=retryable, stuck=stuck))

    async def stalled(self, claim: Claim, reason: str, rungs: Sequence[str]) -> tuple[Task, str]:
        """End a run that stood still; return its task and what was done: the next of ``rungs``, or a dead letter."""

        def transaction(conn: Connection) -> tuple[TaskRow | StaleFence, str]:
            move, done = settling.stalled(conn, reason, rungs)
            results, _ = settling.settle(conn, [claim], move)
            return results[0], (done or [""])[0]

        result, action = await self._db.write(transaction)
        if isinstance(result, StaleFence):
            raise result
        await self._ring([result] if result.state == State.QUEUED else [])
        return renewed(claim.task, result), action

    async def block(self, claim: Claim, question: str) -> Task:
        """Stop a run that cannot go on without a person's answer."""
        return await self._end(claim, lambda _, row, at: ("blocked", moves.block(row, at, question)))

    async def release(self, claim: Claim, reason: str, *, again_in: float | None = None) -> Task:
        """Give the task back unfinished; the next run goes on with the same journal and attempt.

        It is claimable at once, or after ``again_in`` seconds.
        """
        return await self._end(
            claim, lambda _, row, at: ("released", moves.release(row, at, reason, again_in=again_in))
        )

    async def quarantine(self, claim: Claim, reason: str) -> Task:
        """Make a dead letter of a task that brings down the process it runs in."""
        return await self._end(claim, lambda _, row, at: ("poison", moves.quarantine(row, at, reason)))

    async def cancelled(self, claim: Claim) -> Task:
        """Say that a run has stopped because its task was cancelled."""
        return await self._end(claim, lambda _, row, at: ("cancelled", moves.cancelled(row, at, row.reason)))

    async def _end(self, claim: Claim, move: settling.Move) -> Task:
        results, woken = await self._db.write(lambda conn: settling.settle(conn, [claim], move))
        result = results[0]
        if isinstance(result, StaleFence):
            raise result
        await self._ring([*woken, *([result] if result.state == State.QUEUED else [])])
        return renewed(claim.task, result)

    async def reclaim(self, *, alive: Collection[str] = ()) -> int:
        """End the leases of all workers but those ``alive``, at once, and return how many.

        Only for whoever knows that the others are dead: the embedded start, which holds their locks.
        """
        return await self._db.write(lambda conn: queries.expire(conn, alive))

    # ------------------------------------------------------------------------------------------ people

    async def cancel(self, task_id: str, *, by: str) -> Task:
        """Cancel a task: at once when no run has it, else its run is told and stops at its next step."""
        return await self._decide(task_id, lambda _, row, at: moves.cancel(row, at, by))

    async def clear(self, task_ids: Sequence[str], *, by: str) -> list[str]:
        """Cancel those of these tasks that are still queued or waiting, a few hundred at a time; return their ids."""
        gone: list[str] = []
        for start in range(0, len(task_ids), _TOGETHER):
            some = task_ids[start : start + _TOGETHER]
            gone += await self._db.write(lambda conn, some=some: settling.clear(conn, some, by))
        return gone

    async def retry(self, task_id: str, *, by: str) -> Task:
        """Send a settled, blocked or waiting task back to the queue. Raises ``ConflictError`` where it is there."""

        def move(conn: Connection, row: TaskRow, at: float) -> list[NewEvent]:
            return moves.retry(row, at, by, needs_met=not queries.unmet(conn, [row.id]))

        return await self._decide(task_id, move, with_needs=True)

    async def send_back(self, task_id: str, text: str, *, by: str) -> Task:
        """Let the agent go on with its change in review, with ``text`` as a person's feedback on it.

        Raises ``ConflictError`` for a task in any other state; then nothing was said.
        """

        def move(conn: Connection, row: TaskRow, at: float) -> list[NewEvent]:
            events = moves.send_back(row, at, by, needs_met=not queries.unmet(conn, [row.id]))
            messages.post_message(conn, None, row.id, text, by)
            return events

        return await self._decide(task_id, move, with_needs=True)

    async def approve(self, task_id: str, *, by: str, commit: str | None = None) -> Task:
        """Accept a change in review; ``commit`` is the merge commit, when there is one."""
        return await self._decide(task_id, lambda _, row, at: moves.approve(row, at, by, commit))

    async def edit(self, task_id: str, wanted: Edit, *, by: str, seen: float | None = None) -> Task:
        """Change a task that no agent works on; ``seen`` is the ``updated_at`` for which the change was meant.

        Raises ``ConflictError`` in every other state, and where the task has changed since.
        """

        def transaction(conn: Connection) -> FullRow:
            row = _find(conn, task_id)
            editing.edit(conn, row, wanted, by=by, seen=seen)
            return _find(conn, row.id)

        row = await self._db.write(transaction)
        await self._ring([row] if row.state == State.QUEUED else [])
        return as_task(row)

    async def _decide(
        self,
        task_id: str,
        move: Callable[[Connection, TaskRow, float], list[NewEvent]],
        *,
        with_needs: bool = False,
    ) -> Task:
        def transaction(conn: Connection) -> FullRow:
            found = _find(conn, task_id)
            if with_needs:
                queries.lock_needed(conn, found.id)  # before the task itself: the order in which runs end
            return settling.decide(conn, found, lambda row, at: move(conn, row, at))

        row = await self._db.write(transaction)
        await self._ring([row] if row.state == State.QUEUED else [])
        return as_task(row)

    async def pause(self, target: str, *, by: str) -> None:
        """Let an agent, a pool or all (``*``) claim nothing more; their runs stop between steps."""
        await self._db.write(lambda conn: pausing.pause(conn, target, by))

    async def resume(self, target: str, *, by: str) -> None:
        """Let an agent, a pool or all (``*``) go on, also where something wider stays paused."""
        await self._db.write(lambda conn: pausing.resume(conn, target, by))

    async def pauses(self) -> Pauses:
        """Return who is held."""
        return await self._db.read(pausing.pauses)

    async def post_message(
        self, *, text: str, by: str, agent: str | None = None, task_id: str | None = None
    ) -> Message:
        """Keep a message for an agent, or for whichever agent runs a task, until a run takes it."""
        return await self._db.write(lambda conn: messages.post_message(conn, agent, task_id, text, by))

    async def posted_under(self, *, text: str, by: str, key: str) -> list[str]:
        """Return the agents that have what ``by`` wrote under this key. Raises ``ConflictError`` for other words."""
        return await self._db.read(lambda conn: messages.posted_under(conn, text=text, by=by, key=key))

    async def post_once(self, to: Sequence[tuple[str, str]], *, text: str, by: str, key: str) -> list[str]:
        """Keep a message for each agent and its task, once for a key. Raises ``ConflictError`` for other words."""
        return await self._db.write(lambda conn: messages.post_once(conn, to, text=text, by=by, key=key))

    # ------------------------------------------------------------------------------------------ looking

    async def get(self, task_id: str) -> Task:
        """Return the task with this id or unique beginning of one. Raises ``NotFoundError``, ``ConflictError``."""
        return as_task(await self._db.read(lambda conn: _find(conn, task_id)))

    async def list(
        self,
        *,
        states: Collection[State] | None = None,
        profile: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Task]:
        """Return tasks, newest first; ``before`` is the last id of the page before."""
        names = [state.value for state in states] if states is not None else None
        rows = await self._db.read(lambda conn: queries.listed(conn, names, profile, limit, before))
        return [as_task(row) for row in rows]

    async def page(
        self,
        *,
        states: Sequence[State] | None = None,
        profile: str | None = None,
        repo: str | None = None,
        text: str | None = None,
        since: float | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[list[Task], str | None]:
        """Return a page of tasks, newest first, and the ``before`` of the next one; None at the end.

        ``text`` is looked for in title and prompt, in any case; ``since`` is seconds since 1970. A page may be short,
        or empty, before the end.
        """
        wanted = browsing.Wanted(
            states=None if states is None else [state.value for state in states],
            profile=profile,
            project=None if repo is None else submitting.project_of(repo),
            text=text or None,
            since=since,
        )
        rows, after = await self._db.read(lambda conn: browsing.page(conn, wanted, limit, before))
        return [as_task(row) for row in rows], after

    async def runs(self, task_id: str) -> builtins.list[Run]:
        """Return every run of a task with how it ended, oldest first."""
        return await self._db.read(lambda conn: attempts.runs(conn, _find(conn, task_id).id))

    async def why(self, task_id: str) -> str:
        """Return one sentence on what the task waits for or what became of it."""

        def gather(conn: Connection) -> why.Facts:
            row = _find(conn, task_id)
            fresh = claiming.FRESH * self._settings.lease
            agents, busy = queries.living_agents(conn, fresh)
            return why.Facts(
                row=row,
                now=now(conn),
                needed=queries.needed(conn, row.id) if row.state == State.WAITING else (),
                ahead=queries.ahead(conn, row) if row.state == State.QUEUED else 0,
                agents=agents,
                busy=frozenset(busy),
                paused=pausing.pauses(conn),
                parked=parking.parked(conn, fresh) if row.state == State.QUEUED else {},
                settings=self._settings,
                first=holding.first_of(conn, row, fresh),
            )

        return why.sentence(await self._db.read(gather))

    async def stats(self) -> QueueStats:
        """Return how many tasks are in which state, and what waits for which profile."""
        states, pools, oldest = await self._db.read(queries.depth)
        return QueueStats(
            states={state: states.get(state.value, 0) for state in State},
            by_profile=pools,
            oldest_wait=max(0.0, oldest) if oldest is not None else None,
        )

    async def _ring(self, rows: Iterable[TaskRow]) -> None:
        """Wake one waiting worker for each claimable task."""
        if self._bus is None:
            return
        for pool, count in Counter(row.pool for row in rows).items():
            await self._bus.ring(bell(pool), count)


def _find(conn: Connection, task_id: str) -> FullRow:
    found = queries.by_prefix(conn, task_id) if task_id else []
    exact = [row for row in found if row.id == task_id] or found
    if not exact:
        raise NotFoundError(f"there is no task {task_id!r}; ezaigent tasks list shows them")
    if len(exact) > 1:
        raise ConflictError(f"{task_id!r} begins several task ids ({exact[0].id}, {exact[1].id}); give more of it")
    return exact[0]
