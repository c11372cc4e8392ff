"""The chat: a line comes in, is kept, understood, asked about where that is due, and answered."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from ezaigent.chat import private, queries, wordings
from ezaigent.chat.carrying import Carrier, Done, Ready
from ezaigent.chat.commands import Command, harmless
from ezaigent.chat.known import Known
from ezaigent.chat.models import FLEET, KEPT, ChatMessage, Confirmation, NewChatMessage, Reply
from ezaigent.chat.once import Once, repeatable, unsure
from ezaigent.chat.present import Present
from ezaigent.chat.understanding import Understood, interpret
from ezaigent.core.errors import EzAigentError, NotFoundError, UsageError
from ezaigent.core.failpoints import reach
from ezaigent.core.logins import without_login
from ezaigent.tasks import post_message

if TYPE_CHECKING:
    from ezaigent.chat.ports import AgentFacts, FleetDoor, Interpreter
    from ezaigent.store import Connection, Database
    from ezaigent.tasks import TaskQueue

_YES: Final = re.compile(
    r"/?(?:yes|yep|yeah|y|confirm|confirmed|do it|go ahead|yes please|yes,? do it)"
    r"(?:\s+(?P<token>[0-9a-f]{8}))?[.!\s]*",
    re.IGNORECASE,
)
_NO: Final = re.compile(r"/?(?:no|n|nope|no thanks|never ?mind|forget it|rather not|don'?t)[.!\s]*", re.IGNORECASE)
_LONGEST: Final = 20_000
EXPIRY: Final = 120.0
"""Seconds that a question waits for its yes."""
_UNDER_WAY: Final = 5.0
"""Seconds that the answer to a line is waited for which another process may be giving just now."""
_LOOK: Final = 0.1


class Chat:
    """Conversations with the fleet and with each agent. Every door of the product talks to the fleet through this."""

    def __init__(
        self, db: Database, queue: TaskQueue, fleet: FleetDoor, interpreter: Interpreter | None = None
    ) -> None:
        """Keep conversations in ``db``, act through ``queue`` and ``fleet``; ``interpreter`` is the model, if any."""
        self._db = db
        self._queue = queue
        self._fleet = fleet
        self._interpreter = interpreter
        self._keys: weakref.WeakValueDictionary[Once, asyncio.Lock] = weakref.WeakValueDictionary()

    async def say(
        self,
        text: str,
        *,
        by: str,
        to: str = FLEET,
        repo: str | None = None,
        may_change: bool = True,
        key: str | None = None,
    ) -> Reply:
        """Take a line from a person and return the answer; both are kept in the conversation.

        ``to`` is an agent, or ``fleet``. ``repo`` is the repository meant where none is named. Without
        ``may_change`` the person may only look. What cannot be done is said in the answer (``ok`` is false); raises
        ``UsageError`` for an empty or oversized line and ``NotFoundError`` for an agent that does not exist. A line
        with a ``key`` is taken once: said again, also while it is being answered here, it gets the same answer, as long
        as the conversation keeps that. Where the answer was lost, because the process ended, nothing is done a second
        time: the task that the line queued is found, a message that was not sent is sent, and of anything else the
        answer says that it may have been done, and where to look.
        """
        if key is None:
            return await self._say(text, by=by, to=to, repo=repo, may_change=may_change)
        once = Once(_named(to), by, key)
        lock = self._keys.setdefault(once, asyncio.Lock())  # goes with the last one who holds or awaits it
        async with lock:
            answer, begun = await self._db.read(lambda conn: (queries.answered(conn, once), queries.begun(conn, once)))
            if answer is not None:
                return _given(answer)
            return await self._say(text, by=by, to=to, repo=repo, may_change=may_change, once=once, begun=begun)

    async def answered(self, key: str, *, by: str, to: str = FLEET) -> Reply | None:
        """Return the answer to the line that this person said with this key; None where there is none."""
        once = Once(_named(to), by, key)
        found = await self._db.read(lambda conn: queries.answered(conn, once))
        return None if found is None else _given(found)

    async def _say(
        self,
        text: str,
        *,
        by: str,
        to: str,
        repo: str | None,
        may_change: bool,
        once: Once | None = None,
        begun: str | None = None,
    ) -> Reply:
        """Answer a line; ``begun`` is what was begun for it before, and never answered."""
        line = text.strip()
        if not line:
            raise UsageError("the message is empty")
        if len(line) > _LONGEST:
            raise UsageError(f"the message has {len(line)} characters; {_LONGEST} are the most, use ezaigent plan FILE")
        conversation = _named(to)
        fleet = Present(self._fleet)
        agent = None if conversation == FLEET else await private.find(conversation, fleet)
        data = {"key": once.key} if once is not None else {}
        said = NewChatMessage(conversation=conversation, role="person", author=by, text=line, data=data)
        try:
            carrier = Carrier(self._db, self._queue, fleet, once=once)
            if once is not None and begun is not None:
                reply, done = await self._again(once, carrier, begun, may_change=may_change)
            else:
                given = _Line(line, by, once, repo, may_change=may_change)
                reply, done = await self._answer(given, fleet, carrier, agent=agent)
        except EzAigentError as error:
            reply, done = Reply(conversation=conversation, text=str(error), ok=False), None
        reach("chat.carried")
        return await self._kept(said, reply, done, once)

    async def history(
        self, conversation: str = FLEET, *, limit: int = KEPT, before: int | None = None, after: int | None = None
    ) -> list[ChatMessage]:
        """Return a conversation's newest messages, oldest first, numbered below ``before`` and above ``after``."""
        name = _named(conversation)
        return await self._db.read(lambda conn: queries.page(conn, name, limit=limit, before=before, after=after))

    async def conversations(self) -> dict[str, int]:
        """Return each conversation that has messages, with the number of its newest one."""
        found = await self._db.read(queries.conversations)
        return {name: newest for name, newest, _ in found}

    async def waiting(self, *, by: str) -> list[Confirmation]:
        """Return what waits for this person's yes, in every conversation."""
        found = await self._db.read(lambda conn: queries.waiting(conn, by))
        cards: list[Confirmation] = []
        for token, conversation, _, data, expires in found:
            with contextlib.suppress(ValidationError):  # written by another version
                cards.append(_card(token, expires, Ready.model_validate_json(data), conversation, by))
        return cards

    async def decide(self, token: str, *, yes: bool, by: str, may_change: bool = True, key: str | None = None) -> Reply:
        """Confirm or drop what waits under this token, as saying so in its conversation does; ``key`` as there.

        Raises ``NotFoundError`` where nothing waits under it for this person, or no longer.
        """
        once = key or f"decided:{token}"
        card = next((one for one in await self.waiting(by=by) if one.token == token), None)
        place = card.conversation if card else await self._db.read(lambda conn: queries.begun_in(conn, by, once))
        if place is None:
            raise NotFoundError(f"nothing waits under {token!r} for {by}: it was answered, replaced, or is too old")
        said = f"yes {token}" if yes else "no"
        return await self.say(said, by=by, to=place, may_change=may_change, key=once)

    async def agents(self) -> Sequence[AgentFacts]:
        """Return the agents with their specialties and their derived status."""
        return await self._fleet.agents()

    def profiles(self) -> Mapping[str, Sequence[str]]:
        """Return the specialties of each profile."""
        return self._fleet.profiles()

    async def known(self) -> Known:
        """Return the names that people may use."""
        return await _known(self._fleet)

    # ------------------------------------------------------------------------------------------ the answer

    async def _answer(
        self, given: _Line, fleet: FleetDoor, carrier: Carrier, *, agent: AgentFacts | None
    ) -> tuple[Reply, Done | None]:
        conversation = agent.name if agent else FLEET
        line, by, may_change = given.text, given.by, given.may_change
        yes = _YES.fullmatch(line)
        if yes is not None:
            return await self._confirmed(given, conversation, carrier, yes["token"])
        if await self._db.read(lambda conn: queries.waiting(conn, by)):  # most often nothing does: a write less
            await self._db.write(lambda conn: queries.void(conn, conversation, by))
        if _NO.fullmatch(line):
            return Reply(conversation=conversation, text="nothing was done", source="reply"), None
        # What a model reads costs money: it is asked only for those who may spend some.
        asked = None if (agent and agent.task_id) or not may_change else self._interpreter
        found = await interpret(line, await _known(fleet, line), asked)
        command = found.command
        if agent is not None:
            command = private.for_agent(command, agent, line, exact=found.source == "slash")
        if command is None:
            return await self._no_command(line, found, fleet, agent)
        if not may_change and not harmless(command):
            text = "you may look, not change; ask an operator of this fleet"
            return Reply(conversation=conversation, text=text, ok=False, source=found.source), None
        ready = await carrier.ready(command, source=found.source, guessed=found.guessed, repo=given.repo)
        if ready.ask:
            return await self._asked(ready, conversation, by, found), None
        return await self._do(given, conversation, carrier, ready, found.source)

    async def _do(
        self, given: _Line, conversation: str, carrier: Carrier, ready: Ready, source: str
    ) -> tuple[Reply, Done | None]:
        once, data = given.once, ready.model_dump_json()
        if once is not None and not repeatable(ready.command):
            if not await self._db.write(lambda conn: queries.begin(conn, once, data)):
                return await self._again(once, carrier, data, may_change=given.may_change)
            reach("chat.begun")
        done = await carrier.carry(ready, by=given.by)
        return _told(conversation, done, ready.command, source), done

    async def _again(self, once: Once, carrier: Carrier, begun: str, *, may_change: bool) -> tuple[Reply, Done | None]:
        """Answer a line for which something was begun before: by a process that has ended, or that is at it now."""
        conversation = once.conversation
        if not may_change:
            return Reply(conversation=conversation, text="you may look, not change", ok=False, source="reply"), None
        try:
            ready = Ready.model_validate_json(begun)
        except ValidationError:  # written by another version
            text = "this was begun before and its answer was lost: look what became of it"
            return Reply(conversation=conversation, text=text, ok=False, source="reply"), None
        if repeatable(ready.command):
            done = await carrier.carry(ready, by=once.by)
            return _told(conversation, done, ready.command, "reply"), done
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNDER_WAY):
                while await self._db.read(lambda conn: queries.begun(conn, once)) is not None:  # noqa: ASYNC110 - maybe elsewhere
                    await asyncio.sleep(_LOOK)
        command = _dump(ready.command)
        return Reply(conversation=conversation, text=unsure(ready), ok=False, command=command, source="reply"), None

    async def _no_command(
        self, line: str, found: Understood, fleet: FleetDoor, agent: AgentFacts | None
    ) -> tuple[Reply, Done | None]:
        conversation = agent.name if agent else FLEET
        if agent is not None and found.source != "slash" and (found.command is not None or private.asks_about(line)):
            text, data = await private.facts(agent, self._db, fleet, found.command)
            return Reply(conversation=conversation, text=text, data=data, source="agent"), None
        meant = f"; did you mean {' or '.join(found.suggestions)}?" if found.suggestions else ""
        text = f"{found.remark}{meant}" if found.source != "slash" else found.remark
        return (
            Reply(conversation=conversation, text=text, ok=False, source=found.source, suggestions=found.suggestions),
            None,
        )

    # ------------------------------------------------------------------------------------------ asking

    async def _asked(self, ready: Ready, conversation: str, by: str, found: Understood) -> Reply:
        token = secrets.token_hex(4)
        data = ready.model_dump_json()
        expires = await self._db.write(
            lambda conn: queries.ask(conn, token, conversation, by, data=data, seconds=EXPIRY)
        )
        touches = f"\nit touches {ready.count}: {wordings.listed(ready.touches, ready.count)}" if ready.touches else ""
        text = f"understood: {ready.understood}{touches}\nsay yes within {EXPIRY:.0f} s to do it, no to leave it"
        confirmation = _card(token, expires, ready, conversation, by)
        return Reply(
            conversation=conversation,
            text=text,
            command=_dump(ready.command),
            source=found.source,
            confirmation=confirmation,
        )

    async def _confirmed(
        self, given: _Line, conversation: str, carrier: Carrier, token: str | None
    ) -> tuple[Reply, Done | None]:
        """Carry out what was asked last; taking it from the store is what makes it good for once only."""
        by, once, may_change = given.by, given.once, given.may_change
        if not may_change:
            return Reply(conversation=conversation, text="you may look, not change", ok=False, source="reply"), None

        def take(conn: Connection) -> tuple[str | None, str | None]:
            taken = queries.take(conn, conversation, by, token)
            if once is None:
                return taken, None
            if taken is None or not queries.begin(conn, once, taken):
                return None, queries.begun(conn, once)
            return taken, None

        found, begun = await self._db.write(take)
        if once is not None and begun is not None:
            return await self._again(once, carrier, begun, may_change=may_change)
        if found is None:
            text = "there is nothing to confirm: it was answered already, or more than two minutes ago"
            return Reply(conversation=conversation, text=text, ok=False, source="reply"), None
        try:
            ready = Ready.model_validate_json(found)
        except ValidationError:  # written by another version
            return Reply(conversation=conversation, text="say it again, please", ok=False, source="reply"), None
        reach("chat.begun")
        done = await carrier.carry(ready, by=by)
        return _told(conversation, done, ready.command, "reply"), done

    # ------------------------------------------------------------------------------------------ keeping

    async def _kept(self, said: NewChatMessage, reply: Reply, done: Done | None, once: Once | None) -> Reply:
        """Keep the line and its answer, and send what is for agents: kept where these are spoken to, too.

        Where the line has got an answer meanwhile, from another process, that one is returned and nothing is sent.
        """
        data = reply.model_dump(mode="json", exclude={"conversation", "text", "id"}, exclude_none=True)
        answer = NewChatMessage(conversation=reply.conversation, role="fleet", author=FLEET, text=reply.text, data=data)
        letters = done.letters if done is not None else ()

        def write(conn: Connection) -> Reply:
            other = queries.hold(conn, once) if once is not None else None
            if other is not None:
                return _given(other)
            own = None
            for letter in letters:
                posted = post_message(conn, letter.agent, letter.task_id, letter.text, said.author)
                if letter.agent == said.conversation:
                    own = posted.id
                    continue
                copy = {"conversation": letter.agent, "text": letter.text, "message_id": posted.id}
                queries.keep(conn, said.model_copy(update={**copy, "data": {"said_in": said.conversation}}))
            line = queries.keep(conn, said.model_copy(update={"message_id": own}))
            kept = queries.keep(conn, answer.model_copy(update={"data": {**data, "answers": line.id}}))
            return reply.model_copy(update={"id": kept.id})

        return await self._db.write(write)


@dataclass(frozen=True, slots=True)
class _Line:
    """What a person said, and on what terms."""

    text: str
    by: str
    once: Once | None
    repo: str | None
    may_change: bool


def _given(answer: ChatMessage) -> Reply:
    """Return the reply that was kept as this message."""
    return Reply.model_validate(
        {"conversation": answer.conversation, "text": answer.text, "id": answer.id, **answer.data}
    )


async def _known(fleet: FleetDoor, line: str = "") -> Known:
    """Return the names that ``line`` may use; a slash command without a word behind it names nobody."""
    agents = () if line.startswith("/") and len(line.split()) == 1 else await fleet.agents()
    return Known(tuple(agent.name for agent in agents), tuple(fleet.profiles()))


def _named(to: str) -> str:
    return FLEET if to in {FLEET, "all", "*"} else to


def _card(token: str, expires: float, ready: Ready, conversation: str, by: str) -> Confirmation:
    return Confirmation(
        token=token,
        expires_at=expires,
        understood=ready.understood,
        touches=ready.touches,
        count=ready.count,
        conversation=conversation,
        by=by,
    )


def _told(conversation: str, done: Done, command: Command, source: str) -> Reply:
    return Reply.model_validate(
        {
            "conversation": conversation,
            "text": done.text,
            "command": _dump(command),
            "source": source,
            "data": done.data,
        }
    )


def _dump(command: Command) -> dict[str, object]:
    """Return a command as everybody may read it."""
    dumped: dict[str, object] = command.model_dump(mode="json")
    return {name: without_login(value) if isinstance(value, str) else value for name, value in dumped.items()}
