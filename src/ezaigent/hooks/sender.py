"""The one sender of the fleet: makes deliveries of events, in their order, and brings each to its target.

One process holds the office; it renews its term and names it in each transaction that begins attempts. An attempt is
written down before it is made, with the time at which it is made anew should nobody hear how it ended. So two processes
never send the same at the same time, and a crash costs one wait, after which the same delivery id is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from ezaigent.core.errors import EzAigentError, UnavailableError, UsageError
from ezaigent.core.failpoints import reach
from ezaigent.core.ids import new_id
from ezaigent.core.outside import Inside
from ezaigent.fleet import SCALER_LEASE, Election, Term, hold
from ezaigent.hooks import messages, queries, signing
from ezaigent.hooks.patience import Patience
from ezaigent.hooks.posting import TIMEOUT, Answer, Post
from ezaigent.hooks.queries import Due, Line
from ezaigent.store import Connection, Database, EventLog, emit

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

log = structlog.get_logger(__name__)

OFFICE: Final = "webhooks"
POLL: Final = 0.5
"""Seconds between looks when this process commits nothing."""
_COALESCE: Final = 0.1
"""Seconds between two looks at least."""
PAGE: Final = 500
"""Events that become deliveries of one target at a time."""
AT_ONCE: Final = 8
"""Attempts for one target at a time."""
_REST: Final = 60.0
"""Seconds, most, that a target which fails again and again is left alone."""
_FIRST_REST: Final = 1.0
_MOVED: Final = 2000
"""Events of no interest after which a target's cursor is written down."""
_FINISH: Final = 3.0
"""Seconds that attempts under way get when the sender stops."""
_PRUNE: Final = 100
"""Ended attempts of a target between two clearings."""


class Duty(Protocol):
    """Something else that the office does, such as working off what came in."""

    async def any(self) -> bool:
        """Tell whether there is something to do, now or later."""
        ...

    async def serve(self, term: Term) -> None:
        """Do it as long as ``term`` lasts; raises ``StaleFence`` when it does not."""
        ...


class Sender:
    """One candidate for the office: sends when nobody else does, else stands by."""

    def __init__(
        self,
        db: Database,
        events: EventLog,
        holder: str,
        inside: Inside,
        *,
        duties: Sequence[Duty] = (),
        patience: Patience | None = None,
        timeout: float = TIMEOUT,
        lease: float = SCALER_LEASE,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Send what ``db`` asks for under the name ``holder``; an attempt may take ``timeout`` seconds."""
        self._db = db
        self._events = events
        self._election = Election(db, OFFICE, holder, lease)
        self._inside = inside
        self._duties = duties
        self._patience = patience or Patience()
        self._timeout = timeout
        self._resolver = resolver
        self._wake = asyncio.Event()
        self._roads: dict[str, _Road] = {}
        self._left: set[asyncio.Task[None]] = set()
        """Ways that lead elsewhere now, and close behind their last attempt."""
        self.leading = False
        """Whether this one sends now."""

    async def run(self) -> None:
        """Stand by, send, stand by again; ends by being cancelled, and then leaves the office to the next one."""
        await self._election.stand(self._serve, needed=self._needed)

    async def _needed(self) -> bool:
        """Nobody stands for an office that has nothing to do."""
        if await self._db.read(queries.any_webhook):
            return True
        return any([await duty.any() for duty in self._duties])

    async def _serve(self, term: Term) -> None:
        self.leading = True
        beside = [asyncio.create_task(duty.serve(term), name="webhook duty") for duty in self._duties]
        leading = asyncio.create_task(self._lead(term), name="webhook sender")
        try:
            with self._db.on_commit(self._wake.set):
                done, _ = await asyncio.wait({leading, *beside}, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
        finally:
            self.leading = False
            for task in (leading, *beside):
                task.cancel()
            await asyncio.wait({leading, *beside})
            await self._finish()
            with contextlib.suppress(EzAigentError):
                await self._election.resign(term)

    async def _finish(self) -> None:
        """Let attempts under way end; what does not is sent again by the next one."""
        running = {task for road in self._roads.values() for task in road.running}
        if running:
            await asyncio.wait(running, timeout=_FINISH)
        for road in self._roads.values():
            await road.close()
        self._roads.clear()
        if self._left:  # their attempts have ended with the present ways
            await asyncio.wait(tuple(self._left))

    async def _lead(self, term: Term) -> None:
        renewal = 0.0
        while True:
            self._wake.clear()
            now = time.monotonic()
            if now >= renewal:
                await self._election.renew(term)
                renewal = now + term.lease / 3
            head = await self._events.head()  # before the filters are read, so that a changed one misses nothing
            lines = await self._db.read(queries.lines)
            await self._close_all_but({line.id for line in lines})
            again = False
            for line in lines:
                road = self._road(line)
                made = await self._plan(term, line, road, head)
                if (line.due or made) and now >= road.resting and len(road.running) < AT_ONCE:
                    await self._begin(term, line, road)
                again |= made
            await asyncio.sleep(_COALESCE)
            if not again:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(POLL, term.lease / 6)):
                        await self._wake.wait()

    async def _plan(self, term: Term, line: Line, road: _Road, head: int) -> bool:
        """Make deliveries of what is new in the log; return whether some were made."""
        start = max(line.cursor, road.seen if line.cursor == road.written else 0)
        road.written = line.cursor
        room = min(PAGE, queries.BACKLOG - line.pending)
        if head <= start or room <= 0:
            road.seen = start
            return False
        kinds = messages.still_wanted(line.kinds)
        page = await self._events.read(start, room, kinds=kinds) if kinds else []
        cursor = page[-1].seq if len(page) == room else max(head, page[-1].seq if page else start)
        road.seen = cursor
        if not page and cursor - line.cursor < _MOVED:
            return False
        found = [(new_id(), event.seq) for event in page]

        def plan(conn: Connection) -> bool:
            hold(conn, term)
            return queries.plan(conn, line, found, cursor)

        if not await self._db.write(plan):
            road.seen = 0  # it was switched off and on, or changed, meanwhile
            return False
        road.written = cursor
        return bool(page)

    async def _begin(self, term: Term, line: Line, road: _Road) -> None:
        free = AT_ONCE - len(road.running)

        def begin(conn: Connection) -> list[Due]:
            hold(conn, term)
            return queries.begin(conn, line.id, free, self._timeout + self._patience.waits[0])

        for due in await self._db.write(begin):
            reach("webhook.begun")
            road.take(asyncio.create_task(self._attempt(line, road, due), name="webhook attempt"))

    async def _attempt(self, line: Line, road: _Road, due: Due) -> None:
        try:
            body = messages.body(due.event)
            answer = await road.send(body, signing.headers(line.secret, due.id, time.time(), body))
            reach("webhook.sent")
            road.judge(answer)
            await self._db.write(lambda conn: self._end(conn, line, due, answer))
            road.ended += 1
            if road.ended % _PRUNE == 0:
                await self._db.write(lambda conn: queries.prune(conn, line.id))
        except UnavailableError as error:
            log.warning("how a delivery ended could not be written down; it is sent again", reason=str(error))
        except Exception:
            log.exception("a delivery broke; it is sent again")
        finally:
            self._wake.set()

    def _end(self, conn: Connection, line: Line, due: Due, answer: Answer) -> None:
        queries.say(conn, line.id, answer.error)
        if answer.ok:
            queries.end(conn, due, "sent", status=answer.status)
            return
        wait = self._patience.after(due.attempts, answer.retry_after)
        if wait is not None:
            queries.end(conn, due, "pending", status=answer.status, error=answer.error, wait=wait)
        elif queries.end(conn, due, "dead", status=answer.status, error=answer.error):
            data = {"webhook": line.id, "delivery": due.id, "seq": due.event.seq, "kind": due.event.kind}
            emit(conn, "webhook.dead", data={**data, "attempts": due.attempts, "reason": answer.error})

    def _road(self, line: Line) -> _Road:
        road = self._roads.get(line.id)
        if road is None or road.url != line.url:
            previous = road
            road = _Road(line.url, self._inside, self._resolver, self._timeout)
            if previous is not None:
                for task in previous.running:
                    road.take(task)
                self._closing(previous)
            self._roads[line.id] = road
        return road

    def _closing(self, road: _Road) -> None:
        """Close a way that nothing goes any more, once the attempts on it have ended by themselves."""

        async def close() -> None:
            if road.running:
                await asyncio.wait(tuple(road.running))
            await road.close()

        self._left.add(closing := asyncio.create_task(close(), name="webhook way"))
        closing.add_done_callback(self._left.discard)

    async def _close_all_but(self, wanted: set[str]) -> None:
        for key in self._roads.keys() - wanted:
            if not self._roads[key].running:
                await self._roads.pop(key).close()


class _Road:
    """The way to one target, and what is on it."""

    def __init__(self, url: str, inside: Inside, resolver: AbstractResolver | None, timeout: float) -> None:
        self.url = url
        self.running: set[asyncio.Task[None]] = set()
        self.seen = 0
        """Events up to this number were looked at; ``written`` says so in the store, a little later."""
        self.written = 0
        self.resting = 0.0
        """Nothing is sent before this time, by the monotonic clock."""
        self.ended = 0
        self._failures = 0
        self._rest = _FIRST_REST
        self._refused = ""
        self._post: Post | None = None
        try:
            self._post = Post(url, inside, resolver=resolver, timeout=timeout)
        except UsageError as error:  # what is allowed has changed since it was added
            self._refused = str(error)

    def take(self, task: asyncio.Task[None]) -> None:
        """Count an attempt as under way until it has ended."""
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def send(self, body: bytes, headers: dict[str, str]) -> Answer:
        if self._post is None:
            return Answer(None, self._refused, 0.0)
        return await self._post.send(body, headers)

    def judge(self, answer: Answer) -> None:
        """Leave a target alone for a while that fails again and again; the wait goes with the first success."""
        now = time.monotonic()
        if answer.ok:
            self._failures, self._rest = 0, _FIRST_REST
            return
        self._failures += 1
        if self._failures > AT_ONCE and now >= self.resting:  # attempts that began before the rest do not prolong it
            self.resting = now + self._rest
            self._rest = min(_REST, 2 * self._rest)

    async def close(self) -> None:
        """Close the connections; attempts that still run end with them."""
        for task in tuple(self.running):
            task.cancel()
        if self.running:
            await asyncio.wait(self.running)
        if self._post is not None:
            await self._post.close()
