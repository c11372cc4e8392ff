"""One AG-UI run: a line of the chat, its answer, and what comes of it, in the events of that protocol.

The line is the last message of the input; the conversation is the product's own, whatever thread the client calls it.
What has to be confirmed ends the run with an interrupt, which the next run resumes. A run that queued a task follows
it to its end; one that wrote to agents waits for their answers. Whoever leaves stops nothing of this, and finds it
again by sending the same line under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ag_ui.core import (
    AssistantMessage,
    BaseEvent,
    Interrupt,
    MessagesSnapshotEvent,
    ResumeEntry,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    TextPart,
    UserMessage,
)

from ezaigent.api.access import Access, Principal
from ezaigent.api.agui_speech import Speech, whole
from ezaigent.api.hearing import with_speech
from ezaigent.api.models import storable
from ezaigent.api.problems import kind_of
from ezaigent.api.window import Batch, Filter
from ezaigent.chat import ChatMessage, Confirmation, Reply
from ezaigent.core.errors import EzAigentError, UsageError
from ezaigent.core.events import Event
from ezaigent.live import Piece
from ezaigent.tasks import State, Task

if TYPE_CHECKING:
    from ezaigent.api.backstage import Stage

PROTOCOL: Final = "1.0"
"""Version of AG-UI that is spoken."""
HEARTBEAT: Final = 15.0
"""Seconds of silence after which a sign of life is due."""
_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}},
    "required": ["approved"],
}
"""What resumes an interrupt."""
_ENDS: Final = frozenset({State.REVIEW, State.DONE, State.FAILED, State.CANCELLED, State.BLOCKED})
_END_KINDS: Final = frozenset(f"task.{state.value}" for state in _ENDS)
_LEAVING: Final = "the server is stopping; what runs goes on: send the same line under the same id to follow it again"
_under_way: Final[set[asyncio.Task[Reply]]] = set()
"""Lines that are being answered; nobody who leaves takes them along."""


class AguiRun:
    """A run that a client asked for."""

    def __init__(self, on: Stage, caller: Principal, given: RunAgentInput, *, to: str) -> None:
        """Answer ``given`` for ``caller`` in the conversation ``to``. Raises ``UsageError`` for what is no text."""
        self._on = on
        self._caller = caller
        self._given = given
        self._to = to
        self._line = None if given.resume else _line(given)

    async def events(self) -> AsyncGenerator[BaseEvent | None]:
        """Yield the run's events, the last of which ends it; None where a sign of life is due."""
        thread, run = self._given.thread_id, self._given.run_id
        yield RunStartedEvent(thread_id=thread, run_id=run, protocol_version=PROTOCOL)
        try:
            head = await self._on.fanout.head()
            if self._line is None and not self._given.resume:
                async for event in self._attach():
                    yield event
                return
            reply = await self._answered()
            for event in whole(str(reply.id), reply.text, "fleet"):
                yield event
            async for event in self._follow(reply, head):
                yield event
        except EzAigentError as error:
            yield RunErrorEvent(message=str(error), code=kind_of(error).slug)

    # ------------------------------------------------------------------------------------------ the answer

    async def _answered(self) -> Reply:
        """Say the line, or answer the interrupt, once; go on with it also when the client leaves meanwhile."""
        saying = asyncio.create_task(self._resumed(self._given.resume) if self._given.resume else self._say())
        _under_way.add(saying)
        saying.add_done_callback(_forget)
        return await asyncio.shield(saying)

    async def _say(self) -> Reply:
        assert self._line is not None
        message_id, text = self._line
        said = f"{self._given.thread_id}\n{message_id}"  # clients may count their messages anew in each thread
        key = f"agui:{hashlib.sha256(said.encode()).hexdigest()[:32]}"
        may_change = self._caller.access >= Access.OPERATE
        return await self._on.chat.say(text, by=self._caller.name, to=self._to, may_change=may_change, key=key)

    async def _resumed(self, entries: Sequence[ResumeEntry]) -> Reply:
        if len(entries) != 1:
            raise UsageError(f"{len(entries)} interrupts are answered; one waits at a time")
        entry = entries[0]
        by, key = self._caller.name, f"agui:{entry.interrupt_id}"
        found = await self._on.chat.answered(key, by=by, to=self._to)
        if found is not None:
            return found
        may_change = self._caller.access >= Access.OPERATE
        return await self._on.chat.decide(
            entry.interrupt_id, yes=_approved(entry), by=by, may_change=may_change, key=key
        )

    # ------------------------------------------------------------------------------------------ what comes of it

    async def _attach(self) -> AsyncGenerator[BaseEvent | None]:
        """Give a client that says nothing the conversation so far, and what waits for its yes."""
        history = await self._on.chat.history(self._to)
        yield MessagesSnapshotEvent(messages=[_message(one) for one in history])
        cards = [one for one in await self._on.chat.waiting(by=self._caller.name) if one.conversation == self._to]
        yield self._interrupted(cards[-1]) if cards else self._finished(None)

    async def _follow(self, reply: Reply, head: int) -> AsyncGenerator[BaseEvent | None]:
        kind = (reply.command or {}).get("kind")
        if reply.confirmation is not None:
            yield self._interrupted(reply.confirmation)
        elif kind == "submit" and reply.ok and reply.data:
            async for event in self._task(str(reply.data["task"])):
                yield event
        elif kind == "message" and reply.ok and reply.data:
            async for event in self._answers(reply, list(reply.data["agents"]), head):
                yield event
        else:
            yield self._finished(_result(reply))

    async def _task(self, task_id: str) -> AsyncGenerator[BaseEvent | None]:
        """Follow a task from its first event to its end, and hear what its models say."""
        with self._on.hearing.listen(task_id=task_id) as ear:
            follower = self._on.fanout.follow(0, Filter(task_id=task_id), HEARTBEAT)
            async with contextlib.aclosing(follower), contextlib.aclosing(with_speech(follower, ear)) as heard:
                async for event in self._told(task_id, heard):
                    yield event

    async def _told(self, task_id: str, heard: AsyncGenerator[Batch | list[Piece]]) -> AsyncGenerator[BaseEvent | None]:
        shown: dict[str, Any] = {}
        speech = Speech()
        async for batch in heard:
            if not isinstance(batch, list) and not batch.events:
                yield None
                continue
            for told in _happened(batch, speech):
                yield told
            if isinstance(batch, list):
                continue
            task = await self._on.queue.get(task_id)
            if (state := _state(task)) != shown:
                shown = state
                yield StateSnapshotEvent(snapshot=state)
            if task.state in _ENDS and any(one.kind in _END_KINDS for one in batch.events):
                for told in speech.close():
                    yield told
                yield self._ended(task)
                return
        yield RunErrorEvent(message=_LEAVING, code="unavailable")

    async def _answers(self, reply: Reply, agents: list[str], head: int) -> AsyncGenerator[BaseEvent | None]:
        """Yield what the agents answer, until each has, or has no task any more."""
        seen = reply.id or 0
        follower = self._on.fanout.follow(head, Filter(kinds=frozenset({"chat.message", "task."})), HEARTBEAT)
        clock = asyncio.get_running_loop().time
        told = clock()
        async with contextlib.aclosing(follower):
            while agents:
                for one in await self._on.chat.history(self._to, after=seen):
                    seen = one.id
                    if one.role == "agent" and one.author in agents:
                        agents.remove(one.author)
                        for event in whole(str(one.id), one.text, one.author):
                            yield event
                present = {agent.name for agent in await self._on.chat.agents() if agent.task_id}
                agents = [agent for agent in agents if agent in present]
                if agents and await anext(follower, None) is None and self._on.fanout.closing:
                    yield RunErrorEvent(message=_LEAVING, code="unavailable")
                    return
                if clock() - told >= HEARTBEAT:  # the others' messages are silence for this client
                    told = clock()
                    yield None
        yield self._finished(_result(reply))

    # ------------------------------------------------------------------------------------------ the end

    def _finished(self, result: Any) -> RunFinishedEvent:
        return RunFinishedEvent(
            thread_id=self._given.thread_id,
            run_id=self._given.run_id,
            result=result,
            outcome=RunFinishedSuccessOutcome(),
        )

    def _interrupted(self, card: Confirmation) -> RunFinishedEvent:
        wanted = Interrupt(
            id=card.token,
            reason="confirmation",
            message=card.understood,
            response_schema=_ANSWER,
            expires_at=datetime.fromtimestamp(card.expires_at, UTC).isoformat(),
            metadata={"touches": list(card.touches)},
        )
        return RunFinishedEvent(
            thread_id=self._given.thread_id,
            run_id=self._given.run_id,
            outcome=RunFinishedInterruptOutcome(interrupts=[wanted]),
        )

    def _ended(self, task: Task) -> BaseEvent:
        if task.state is State.FAILED:
            return RunErrorEvent(message=f"{task.id} failed: {task.reason}", code="task-failed")
        if task.state is State.CANCELLED:
            return RunFinishedEvent(
                thread_id=self._given.thread_id, run_id=self._given.run_id, outcome=RunFinishedCancelledOutcome()
            )
        return self._finished(_state(task))


def _line(given: RunAgentInput) -> tuple[str, str] | None:
    """Return id and text of what the person says now; None where nobody does."""
    last = given.messages[-1] if given.messages else None
    if not isinstance(last, UserMessage):
        return None
    if isinstance(last.content, str):
        return last.id, _storable(last.content)
    parts = [part.text for part in last.content if isinstance(part, TextPart)]
    if len(parts) < len(last.content):
        raise UsageError("the message holds something else than text, which nobody here could read")
    return last.id, _storable("\n".join(parts))


def _storable(text: str) -> str:
    try:
        return storable(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _approved(entry: ResumeEntry) -> bool:
    """Read an answer: only a plain yes is one."""
    if entry.status == "cancelled":
        return False
    payload: Any = entry.payload
    approved = payload.get("approved") if isinstance(payload, dict) else payload  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(approved, bool):
        raise UsageError(f'interrupt {entry.interrupt_id[:40]!r} is answered by {{"approved": true}} or false')
    return approved


def _message(one: ChatMessage) -> UserMessage | AssistantMessage:
    if one.role == "person":
        return UserMessage(id=str(one.id), content=one.text, name=one.author)
    return AssistantMessage(id=str(one.id), content=one.text, name=one.author)


def _happened(batch: Batch | list[Piece], speech: Speech) -> Iterator[BaseEvent]:
    """Tell what was said, and what was done."""
    if isinstance(batch, list):
        for piece in batch:
            yield from speech.piece(piece)
        return
    for one in batch.events:
        event = one.event
        yield from speech.step(event)
        yield from _steps(event)


def _steps(event: Event) -> Iterator[BaseEvent]:
    """Tell a finished step."""
    if event.kind == "run.step":
        name = f"{event.data.get('step')} {event.data.get('name')}"
        yield StepStartedEvent(step_name=name)
        yield StepFinishedEvent(step_name=name)


def _state(task: Task) -> dict[str, Any]:
    """Return what a client shows of a task."""
    change = task.change
    shown = {
        "id": task.id,
        "state": task.state.value,
        "title": task.title,
        "agent": task.agent,
        "reason": task.reason,
        "steps": task.steps,
        "branch": change.branch if change else None,
        "commit": change.commit if change else None,
    }
    return {"task": shown}


def _result(reply: Reply) -> dict[str, Any]:
    return reply.model_dump(mode="json", include={"ok", "command", "source", "data", "suggestions"})


def _forget(saying: asyncio.Task[Reply]) -> None:
    _under_way.discard(saying)
    if not saying.cancelled():
        saying.exception()  # the client has been told, if it was still there
