"""The journal of a run: what each finished step came to, so that no later run repeats it.

A step is appended in one transaction with everything that must not be parted from it: the proof that the run still
owns the task, what the step cost, and the event that tells it. A run that takes over reads the journal and is given
each recorded result in place of doing the work, until the records end; from there it works on.

The bytes of a step are those of its own result, however long the history is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from ezaigent.agents import queries
from ezaigent.agents.models import Step
from ezaigent.agents.queries import Record
from ezaigent.core.errors import ControlSignal, UnavailableError
from ezaigent.costs import settle
from ezaigent.store import NewEvent, emit_many
from ezaigent.tasks import Claim, Message, deliver_messages, guard, pending_messages

if TYPE_CHECKING:
    from ezaigent.agents.meter import Meter
    from ezaigent.store import Connection, Database

What = Literal["model", "tool", "check", "message"]


class JournalMismatch(Exception):
    """The journal does not tell the story that the program tells now, as after an upgrade; never leaves this room."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a step's work came to: the bytes to record, and what the event says about it."""

    payload: bytes
    label: str
    """The model that answered, the tool, or the first check."""
    data: dict[str, Any] | None = None
    """Further facts for the event."""


class Journal:
    """The journals of all runs, as the fleet sees them."""

    def __init__(self, db: Database) -> None:
        """Read from ``db``."""
        self._db = db

    async def load(self, task_id: str, session: int) -> list[Record]:
        """Return the steps that earlier runs of the session have finished."""
        return await self._db.read(lambda conn: queries.load_steps(conn, task_id, session))

    async def last_checkpoint(self, task_id: str, session: int) -> str | None:
        """Return the commit to which a resumed work tree must be restored; None where no step changed a file."""
        return await self._db.read(lambda conn: queries.last_checkpoint(conn, task_id, session))


class RunJournal:
    """The journal of one run: replays what is recorded, then records what is done.

    Steps come one after the other; two at the same time would have no order to replay in.
    """

    def __init__(
        self,
        db: Database,
        claim: Claim,
        records: Sequence[Record],
        *,
        meter: Meter | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        """Go on after ``records``; ``meter`` knows what the model calls of each step cost."""
        self._db = db
        self._claim = claim
        self._records: list[Record | None] = list(records)
        self._known = len(records)
        self._meter = meter
        self._on_step = on_step
        self._notes: list[NewEvent] = []
        self._flushing: set[asyncio.Task[None]] = set()
        self._next = 0
        self.checkpoint: str | None = None
        """Commit of the last step that changed files."""
        self.changes = 0
        """Steps so far, replayed or not, that changed files."""

    @property
    def steps(self) -> int:
        """Steps finished so far, replayed ones included."""
        return self._next

    @property
    def replaying(self) -> bool:
        """Whether the next step's result is already recorded."""
        return self._next < self._known

    def upcoming(self) -> str | None:
        """Return the name of the next recorded step; None where the records have ended."""
        record = self._records[self._next] if self.replaying else None
        return None if record is None else record.name

    def recall(self, name: str, what: What, label: str) -> bytes | None:
        """Return the recorded result of the next step, or None where it must be done; ``label`` is for who watches.

        Raises ``JournalMismatch`` where another step is recorded in its place.
        """
        if not self.replaying:
            return None
        record = self._records[self._next]
        assert record is not None
        if record.name != name:
            raise JournalMismatch(f"step {self._next} is recorded as {record.name!r}, now it is {name!r}")
        self._records[self._next] = None  # it lives on in the history; a long journal is not held twice
        self._advance(record.checkpoint)
        self._tell(what, label, 0.0, record.checkpoint, replayed=True)
        return record.payload

    async def append(
        self, name: str, what: What, done: Finished, *, started: float, checkpoint: str | None = None
    ) -> None:
        """Record a finished step; durable when this returns. Raises ``StaleFence`` where the run lost its task.

        ``started`` is ``time.monotonic()`` of its beginning.
        """
        ms = (time.monotonic() - started) * 1000
        await self._write(name, what, done, ms, checkpoint)
        self._tell(what, done.label, ms, checkpoint, replayed=False)

    async def deliver(self, name: str) -> bytes | None:
        """Take the messages that wait for this run into the journal; return them as recorded, or None for none."""
        agent, task_id = self._claim.agent, self._claim.task.id
        messages = await self._db.read(lambda conn: pending_messages(conn, agent=agent, task_id=task_id))
        if not messages:
            return None
        done = Finished(orjson.dumps([{"by": one.by, "text": one.text} for one in messages]), messages[0].by)
        await self._write(name, "message", done, 0.0, None, messages=messages)
        self._tell("message", done.label, 0.0, None, replayed=False)
        return done.payload

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write an event soon, without waiting for the step that it happened in."""
        claim = self._claim
        self._notes.append(NewEvent(kind, claim.task.id, claim.run_id, claim.agent, data, time.time()))
        task = asyncio.ensure_future(self.flush())
        self._flushing.add(task)
        task.add_done_callback(self._flushed)

    async def flush(self) -> None:
        """Write the notes, and the usage of calls that ended without a step. Raises nothing for a lost fence."""
        notes, self._notes = self._notes, []
        calls = [] if self._meter is None else self._meter.drain()
        if not notes and not calls:
            return
        claim, step = self._claim, self._next

        def write(conn: Connection) -> None:
            guard(conn, claim.task.id, claim.fence)
            settle(conn, claim, calls, step=step)
            emit_many(conn, notes)

        await self._db.write(write)

    async def close(self) -> None:
        """Write what is still unwritten; a run that lost its task, or its database, has nothing more to say."""
        if self._flushing:
            await asyncio.wait(set(self._flushing))
        with contextlib.suppress(ControlSignal, UnavailableError):
            await self.flush()

    async def forget(self) -> None:
        """Discard the session's journal, which does not fit the program, and begin at its start."""
        claim = self._claim

        def write(conn: Connection) -> None:
            guard(conn, claim.task.id, claim.fence)
            queries.discard_steps(conn, claim.task.id, claim.task.session)

        await self._db.write(write)
        self._records, self._known, self._next = [], 0, 0

    async def _write(
        self,
        name: str,
        what: What,
        done: Finished,
        ms: float,
        checkpoint: str | None,
        *,
        messages: Sequence[Message] = (),
    ) -> None:
        claim, seq = self._claim, self._next
        task_id, session = claim.task.id, claim.task.session
        calls = [] if self._meter is None else self._meter.drain()
        notes, self._notes = self._notes, []
        data = {"step": seq, "what": what, "name": done.label, "ms": round(ms, 1), "files_changed": bool(checkpoint)}
        events = [*notes, NewEvent("run.step", task_id, claim.run_id, claim.agent, data | (done.data or {}))]

        def write(conn: Connection) -> None:
            if not queries.count_step(conn, task_id, claim.fence, claim.run_id):
                guard(conn, task_id, claim.fence)  # says why
            queries.insert_step(
                conn,
                task_id=task_id,
                session=session,
                seq=seq,
                fence=claim.fence,
                name=name,
                payload=done.payload,
                checkpoint=checkpoint,
            )
            deliver_messages(
                conn, [one.id for one in messages], agent=claim.agent, task_id=task_id, run_id=claim.run_id
            )
            settle(conn, claim, calls, step=seq)
            emit_many(conn, events)

        await self._db.write(write)
        self._advance(checkpoint)

    def _advance(self, checkpoint: str | None) -> None:
        self._next += 1
        if checkpoint is not None:
            self.checkpoint = checkpoint
            self.changes += 1

    def _tell(self, what: What, label: str, ms: float, checkpoint: str | None, *, replayed: bool) -> None:
        if self._on_step is not None:
            self._on_step(Step(self._next - 1, what, label, ms, checkpoint is not None, replayed))

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._flushing.discard(task)
        if not task.cancelled():
            task.exception()  # a lost fence or database shows at the next step, which must be written
