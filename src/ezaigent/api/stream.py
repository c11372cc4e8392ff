"""Live events: one reader of the log for all clients of the process, each of which is a position in it.

The reader keeps the newest events, encoded, in one window. A client waits, then sends what lies behind its position:
out of the window, or, where it is further back, page by page out of the store. So nothing is queued for a client, a
slow one holds back nobody, and resuming at any number is the same as having been slow.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import structlog

from ezaigent.core.errors import UnavailableError
from ezaigent.core.events import Event
from ezaigent.store import EventLog

log = structlog.get_logger(__name__)

WINDOW: Final = 10_000
"""Events kept for all clients together."""
_PAGE: Final = 500
"""Events that one client gets at a time."""
_EACH: Final = 0.0005
"""Seconds between two wake-ups for each client: many clients get larger pieces less often."""
_PACE: Final = (0.01, 0.5)
"""Seconds, least and most, between two wake-ups."""
_POLL: Final = 0.05
"""Seconds between two looks for what other processes have written; what this one writes is seen at once."""
_AGAIN: Final = 1.0
"""Seconds before the log is read again after the store was away."""

PRIVATE: Final = "audit."
"""Kinds that only administrators see."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which events a client wants; empty: all."""

    kinds: frozenset[str] = frozenset()
    """Whole kinds, or beginnings that end in a dot: ``task.``."""
    task_id: str | None = None
    agent: str | None = None
    private: bool = False
    """Whether audit events are among them."""
    _prefixes: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prefixes", tuple(kind for kind in self.kinds if kind.endswith(".")))

    def __call__(self, event: Event) -> bool:
        """Tell whether the client gets the event."""
        return (
            (not self.kinds or event.kind in self.kinds or event.kind.startswith(self._prefixes or ("\n",)))
            and (self.task_id is None or event.task_id == self.task_id)
            and (self.agent is None or event.agent == self.agent)
            and (self.private or not event.kind.startswith(PRIVATE))
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a client is sent next; ``position`` is where it stands afterwards."""

    events: list[tuple[Event, bytes]]
    position: int
    resync: bool = False
    """The client had fallen out of the window: what follows is read for it from the store."""


class Fanout:
    """The one reader, and its clients."""

    def __init__(self, log: EventLog, *, window: int = WINDOW) -> None:
        """Read ``log``; keep ``window`` events."""
        self._log = log
        self._window = window
        self._floor = 0
        """The window holds every event above this number, up to ``tip``."""
        self.tip = 0
        self._seqs: list[int] = []
        self._kept: list[tuple[Event, bytes]] = []
        self._news = asyncio.Event()
        self.clients = 0
        self.closing = False
        self._ready = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._waking: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read(), name="event reader")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if self._waking is not None:
            self._waking.cancel()

    def close(self) -> None:
        """End every stream in order; each client knows its position and comes again."""
        self.closing = True
        self._ready.set()
        self._wake()

    @property
    def kept(self) -> int:
        """How many events are in memory, for all clients together."""
        return len(self._kept)

    async def head(self) -> int:
        """Return the number up to which the log is complete."""
        return await self._log.head()

    async def follow(self, after: int, wanted: Filter, heartbeat: float) -> AsyncGenerator[Batch | None, None]:
        """Yield what comes behind ``after``, in order, none twice; None after each ``heartbeat`` seconds of silence.

        Events that the client does not want are silence, too. Ends when the server closes. Raises ``UnavailableError``
        when the store is away and the window is not enough.
        """
        await self._ready.wait()
        position, live = after, False
        clock = asyncio.get_running_loop().time
        told = clock()
        while not self.closing:
            news = self._news
            if position < self._floor:
                batch = await self._page(position, wanted, resync=live)
                live = False
            else:
                batch = self._take(position, wanted)
                live = True
            moved = batch.position > position
            position = batch.position
            if batch.events or batch.resync:
                yield batch
                told = clock()
            elif clock() - told >= heartbeat:
                yield None
                told = clock()
            elif not moved:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(told + heartbeat):
                        await news.wait()

    def _take(self, position: int, wanted: Filter) -> Batch:
        start = bisect_right(self._seqs, position)
        piece = self._kept[start : start + _PAGE]
        at_tip = start + len(piece) == len(self._kept)
        end = max(position, self.tip) if at_tip else piece[-1][0].seq
        return Batch(events=[pair for pair in piece if wanted(pair[0])], position=end)

    async def _page(self, position: int, wanted: Filter, *, resync: bool) -> Batch:
        """Read the next page for one client from the store."""
        whole = [kind for kind in wanted.kinds if not kind.endswith(".")]
        kinds = whole if wanted.kinds and len(whole) == len(wanted.kinds) else None
        tip = await self._log.head()
        found = await self._log.read(position, _PAGE, kinds=kinds, task_id=wanted.task_id, agent=wanted.agent)
        end = found[-1].seq if len(found) == _PAGE else max(tip, found[-1].seq if found else position)
        return Batch(events=[(event, encode(event)) for event in found if wanted(event)], position=end, resync=resync)

    async def _read(self) -> None:
        """Follow the log; begin a window back, so that clients of a restarted server find their place in memory."""
        begun = False
        while True:
            try:
                if not begun:
                    self._floor = self.tip = max(0, await self._log.head() - self._window)
                    begun = True
                while page := await self._log.read(self.tip, _PAGE):
                    self._keep(page)
                self._ready.set()
                async with contextlib.aclosing(self._log.follow(self.tip, poll=_POLL)) as events:
                    async for event in events:
                        self._keep([event])
            except UnavailableError as error:
                log.warning("live events wait for the store", reason=str(error))
            except Exception:
                log.exception("reading events broke; it goes on")  # streams must not stand still for good
            await asyncio.sleep(_AGAIN)

    def _keep(self, events: Sequence[Event]) -> None:
        self._seqs += [event.seq for event in events]
        self._kept += [(event, encode(event)) for event in events]
        self.tip = events[-1].seq
        if len(self._kept) > 2 * self._window:
            self._floor = self._seqs[-self._window - 1]
            del self._seqs[: -self._window], self._kept[: -self._window]
        if self._waking is None:
            pace = min(_PACE[1], max(_PACE[0], self.clients * _EACH))
            self._waking = asyncio.get_running_loop().call_later(pace, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._news.set()
        self._news = asyncio.Event()


def encode(event: Event) -> bytes:
    """Return an event as a server-sent event; JSON holds no line break, so nothing in it can begin another one."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), event.model_dump_json().encode())
