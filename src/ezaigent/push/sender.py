"""The one sender of the fleet: follows the event log and notifies the browsers that want to know.

One process holds the office and writes down how far it came when a page of events is handed over. After a crash that
page is handed over again; a note takes the place of an earlier one with the same tag, so nobody sees it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from ezaigent.core.errors import EzAigentError, UnavailableError
from ezaigent.core.events import Event
from ezaigent.core.outside import Inside
from ezaigent.fleet import SCALER_LEASE, Election, Term, hold, recalled, remember
from ezaigent.push import queries
from ezaigent.push.handing import TTL, Handed, hand
from ezaigent.push.keys import PushKey, push_key
from ezaigent.push.models import Browser
from ezaigent.push.notes import KINDS, Note, grouped, note_of
from ezaigent.store import Connection, Database, EventLog, now

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

log = structlog.get_logger(__name__)

OFFICE: Final = "notifications"
PAGE: Final = 500
"""Events that are handed over together."""
_POLL: Final = 0.5
"""Seconds between two looks for what other processes have written."""
_GATHER: Final = 0.2
"""Seconds in which what happens together is told together."""
_AT_ONCE: Final = 32
"""Notifications on their way at a time."""
_FINISH: Final = 3.0
"""Seconds that what is being handed over gets when the sender stops."""
_WAITS: Final = (5.0, 60.0, 600.0)
"""Seconds before a notification that a service had no time for is handed over again."""
_MOST_AGAIN: Final = 1000
"""Notifications, most, that wait for another try; for one more there is none."""


class Sender:
    """One candidate for the office: sends when nobody else does, else stands by."""

    def __init__(
        self,
        db: Database,
        events: EventLog,
        holder: str,
        inside: Inside,
        *,
        contact: str,
        lease: float = SCALER_LEASE,
        waits: Sequence[float] = _WAITS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Notify those who asked in ``db``, under the name ``holder``; ``waits``: seconds before each further try."""
        self._db = db
        self._events = events
        self._election = Election(db, OFFICE, holder, lease)
        self._inside = inside
        self._contact = contact
        self._waits = tuple(waits)
        self._resolver = resolver
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._again: set[asyncio.Task[None]] = set()
        self._handing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many notifications wait for another try."""
        return len(self._again)

    async def run(self) -> None:
        """Stand by, send, stand by again; ends by being cancelled, and then leaves the office to the next one."""
        await self._election.stand(self._serve, needed=lambda: self._db.read(queries.any_browser))

    async def _serve(self, term: Term) -> None:
        both = {asyncio.create_task(self._renew(term)), asyncio.create_task(self._follow(term))}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
            if self._handing is not None:
                await asyncio.wait({self._handing}, timeout=_FINISH)
                self._handing.cancel()
                await asyncio.gather(self._handing, return_exceptions=True)
            for task in (waiting := tuple(self._again)):  # what was handed over last may wait for another try, too
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            with contextlib.suppress(EzAigentError):
                await self._election.resign(term)

    async def _renew(self, term: Term) -> None:
        while True:
            await asyncio.sleep(term.lease / 3)
            await self._election.renew(term)

    async def _follow(self, term: Term) -> None:
        """Tell what happens from where the last holder came to; the first one begins with now."""
        kept = await self._db.read(lambda conn: recalled(conn, OFFICE))
        position = int(kept) if kept.isdigit() else await self._events.head()
        news = asyncio.Event()
        with self._db.on_commit(news.set):
            while True:
                news.clear()
                head = await self._events.head()
                page = await self._events.read(position, PAGE, kinds=KINDS)
                reached = page[-1].seq if len(page) == PAGE else max(head, page[-1].seq if page else position)
                if page or reached - position > PAGE or not kept:
                    self._handing = asyncio.create_task(self._hand_over(term, page, reached))
                    await asyncio.shield(self._handing)
                    kept = "kept"
                position = reached
                if len(page) < PAGE:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_POLL):
                            await news.wait()
                    await asyncio.sleep(_GATHER)

    async def _hand_over(self, term: Term, page: Sequence[Event], reached: int) -> None:
        if page:
            await self._tell(page)
        await self._db.write(lambda conn: _remember(conn, term, reached))

    async def _tell(self, page: Sequence[Event]) -> None:
        named = {event.task_id for event in page if event.task_id}

        def look(conn: Connection) -> tuple[list[Browser], dict[str, str], float]:
            return queries.browsers(conn), queries.titles(conn, sorted(named)), now(conn)

        browsers, titles, at = await self._db.read(look)
        fresh = [event for event in page if at - event.at < TTL]
        notes = [note for event in fresh if (note := note_of(event, titles)) is not None]
        key = await push_key(self._db)
        jobs = [
            self._notify(browser, note, key, 0)
            for browser in browsers
            for note in grouped([one for one in notes if one.kind in browser.kinds and one.at >= browser.since])
        ]
        for ended in await asyncio.gather(*jobs, return_exceptions=True):
            if ended is None:
                continue
            if isinstance(ended, EzAigentError) or not isinstance(ended, Exception):
                raise ended
            log.error("a browser could not be notified", exc_info=ended)  # which keeps no other from it

    async def _notify(self, browser: Browser, note: Note, key: PushKey, tries: int) -> None:
        payload = note.payload(browser.user, may_approve=browser.role in {"operator", "admin"})
        topic = hashlib.sha256(note.tag.encode()).hexdigest()[:32]
        async with self._room:
            handed = await hand(
                browser, payload, key, self._inside, contact=self._contact, topic=topic, resolver=self._resolver
            )

        def end(conn: Connection) -> None:
            if handed.gone:
                queries.gone(conn, browser)
            else:
                queries.say(conn, browser.id, handed.error)

        await self._db.write(end)
        if handed.again and tries < len(self._waits) and self.waiting < _MOST_AGAIN:
            later = asyncio.create_task(self._later(browser, note, key, tries, handed))
            self._again.add(later)
            later.add_done_callback(self._again.discard)

    async def _later(self, browser: Browser, note: Note, key: PushKey, tries: int, handed: Handed) -> None:
        """Hand a note over once more, if its browser is still that person's and still wants it by then."""
        await asyncio.sleep(max(self._waits[tries], handed.wait))
        with contextlib.suppress(UnavailableError):
            for one in await self._db.read(queries.browsers):
                if (one.id, one.user) == (browser.id, browser.user) and note.kind in one.kinds:
                    await self._notify(one, note, key, tries + 1)


def _remember(conn: Connection, term: Term, position: int) -> None:
    hold(conn, term)
    remember(conn, term, str(position))
