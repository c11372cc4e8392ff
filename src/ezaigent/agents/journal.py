"""The journal of a run: what each finished step came to, so that no later run repeats it.

A step is appended in one transaction with everything that must not be parted from it: the proof that the run still
owns the task, what the step cost, and the event that tells it. A run that takes over reads the journal and is given
each recorded result in place of doing the work, until the records end; from there it works on.

The bytes of a step are those of its own result, however long the history is.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import orjson
import structlog

from ezaigent.agents import queries
from ezaigent.agents.models import Step
from ezaigent.agents.queries import Record
from ezaigent.chat import record_answer
from ezaigent.core.errors import ConflictError, ControlSignal, StoreUnavailable, UnavailableError
from ezaigent.costs import settle
from ezaigent.store import NewEvent, emit_many
from ezaigent.tasks import Claim, Message, deliver_messages, guard, pending_messages

if TYPE_CHECKING:
    from ezaigent.agents.meter import Meter
    from ezaigent.costs import CallRecord
    from ezaigent.store import Connection, Database

_Unwritten: TypeAlias = "tuple[list[NewEvent], list[tuple[CallRecord, str | None]], asyncio.Event]"

log = structlog.get_logger(__name__)

What = Literal["model", "tool", "check", "message"]

RESTART: Final = "run__restart"
"""Name of the step that begins a journal in place of one that could not be gone on with."""
_AGAIN: Final = 0.5
"""Seconds, at most, between two tries to write a step."""


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


class _Entry(NamedTuple):
    """A finished step as it is to be written."""

    name: str
    what: What
    done: Finished
    ms: float
    checkpoint: str | None = None
    messages: Sequence[Message] = ()


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
        self.restarted = False
        """Whether the conversation began anew on the tree that an earlier one left."""
        if records and records[0].name == RESTART:
            self._restart(records[0].checkpoint)

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
        await self._write(_Entry(name, what, done, ms, checkpoint))
        self._tell(what, done.label, ms, checkpoint, replayed=False)

    async def deliver(self, name: str) -> bytes | None:
        """Take the messages that wait for this run into the journal; return them as recorded, or None for none."""
        agent, task_id = self._claim.agent, self._claim.task.id
        messages = await self._db.read(lambda conn: pending_messages(conn, agent=agent, task_id=task_id))
        if not messages:
            return None
        done = Finished(
            orjson.dumps([{"id": one.id, "by": one.by, "text": one.text} for one in messages]), messages[0].by
        )
        await self._write(_Entry(name, "message", done, 0.0, messages=messages))
        self._tell("message", done.label, 0.0, None, replayed=False)
        return done.payload

    async def answer(self, message_ids: Sequence[str], text: str) -> None:
        """Keep what the agent said to these messages in its conversations, once. Raises ``StaleFence``."""
        claim = self._claim

        def write(conn: Connection) -> None:
            guard(conn, claim.task.id, claim.fence)
            record_answer(conn, message_ids, agent=claim.agent, task_id=claim.task.id, text=text)

        await self._db.write(write)

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write an event soon, without waiting for the step that it happened in."""
        claim = self._claim
        self._notes.append(NewEvent(kind, claim.task.id, claim.run_id, claim.agent, data))  # by the database's clock
        task = asyncio.ensure_future(self.flush())
        self._flushing.add(task)
        task.add_done_callback(self._flushed)

    async def flush(self) -> None:
        """Write the notes, and the usage of calls that ended without a step; what fails is kept for the next write."""
        claim, step = self._claim, self._next
        with self._unwritten() as (notes, calls, handed):
            if not notes and not calls:
                return

            def write(conn: Connection) -> None:
                handed.set()
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
        """Discard the session's journal, which does not fit the program, and begin anew on the tree that it left."""
        claim = self._claim
        task_id, session = claim.task.id, claim.task.session
        told = NewEvent("run.restarted", task_id, claim.run_id, claim.agent)

        def write(conn: Connection) -> str | None:
            guard(conn, task_id, claim.fence)
            checkpoint = queries.last_checkpoint(conn, task_id, session)
            queries.discard_steps(conn, task_id, session)
            queries.append_step(
                conn,
                task_id=task_id,
                session=session,
                seq=0,
                fence=claim.fence,
                name=RESTART,
                payload=b"",
                checkpoint=checkpoint,
                events=[told],
            )
            return checkpoint

        checkpoint = await self._db.write(write)
        self._records = [None]
        self._known, self._next = 1, 0
        self._restart(checkpoint)

    def _restart(self, checkpoint: str | None) -> None:
        self._records[0] = None
        self.restarted = True
        self._advance(checkpoint)

    async def _write(self, entry: _Entry) -> None:
        """Write the step, again while the store is away: what was paid for is not thrown away for an outage.

        It ends with the run, which a worker that stops cancels.
        """
        told = False
        while True:
            try:
                await self._try(entry)
                break
            except StoreUnavailable as error:
                if not told:
                    log.warning("a step cannot be journaled yet; trying again", reason=str(error))
                told = True
            await asyncio.sleep(random.uniform(0, _AGAIN))  # noqa: S311 - spreads load, keeps no secret
        self._advance(entry.checkpoint)

    async def _try(self, entry: _Entry) -> None:
        claim, seq = self._claim, self._next
        task_id, session = claim.task.id, claim.task.session
        data = {"step": seq, "what": entry.what, "name": entry.done.label, "ms": round(entry.ms, 1)}
        data |= {"files_changed": bool(entry.checkpoint), **(entry.done.data or {})}
        event = NewEvent("run.step", task_id, claim.run_id, claim.agent, data)
        with self._unwritten() as (notes, calls, handed):

            def write(conn: Connection) -> None:
                handed.set()
                if not queries.append_step(
                    conn,
                    task_id=task_id,
                    session=session,
                    seq=seq,
                    fence=claim.fence,
                    name=entry.name,
                    payload=entry.done.payload,
                    checkpoint=entry.checkpoint,
                    events=[*notes, event],
                ):
                    guard(conn, task_id, claim.fence)  # says why
                    if queries.recorded_by(conn, task_id, session, seq) != claim.fence:
                        raise ConflictError(f"step {seq} of task {task_id} was written by another run")
                    return  # by this one: the answer to the commit was lost, and everything else went with it
                received = [one.id for one in entry.messages]
                deliver_messages(conn, received, agent=claim.agent, task_id=task_id, run_id=claim.run_id)
                settle(conn, claim, calls, step=seq)

            await self._db.write(write, single=not calls and not entry.messages)

    @contextlib.contextmanager
    def _unwritten(self) -> Generator[_Unwritten]:
        """Hand out the notes and calls that wait to be written; take them back where that surely did not happen."""
        notes, self._notes = self._notes, []
        calls = [] if self._meter is None else self._meter.drain()
        handed = asyncio.Event()
        try:
            yield notes, calls, handed
        except BaseException as error:
            # A cancelled caller cannot know whether a transaction that had begun was committed.
            if not handed.is_set() or not isinstance(error, asyncio.CancelledError):
                self._notes[:0] = notes
                if self._meter is not None:
                    self._meter.put_back(calls)
            raise

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
