"""Live events: one reader of the log for all clients of the process, each of which is a position in it.

The reader keeps the newest events in one window. A client waits, then sends what lies behind its position: out of the
window, or, where it is further back, page by page out of the store. So nothing is queued for a client, a slow one holds
back nobody, and resuming at any number is the same as having been slow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, Self

import structlog

from ezaigent.api.window import PAGE, Batch, Filter, Window, piece, sendable
from ezaigent.core.errors import UnavailableError
from ezaigent.core.events import Event
from ezaigent.store import EventLog

log = structlog.get_logger(__name__)

WINDOW: Final = 10_000
"""Events kept for all clients together."""
WINDOW_BYTES: Final = 16 * 1024**2
"""Bytes of them; twice as much of either for a moment."""
_EACH: Final = 0.0005
"""Seconds between two wake-ups for each client: many clients get larger pieces less often."""
_PACE: Final = (0.01, 0.5)
"""Seconds, least and most, between two wake-ups."""
_POLL: Final = 0.05
"""Seconds between two looks for what other processes have written; what this one writes is seen at once."""
_AGAIN: Final = 1.0
"""Seconds before the log is read again after the store was away."""
_FEW: Final = 64
"""Events of a client's first page out of the store; of the next ones twice as many as went into a piece."""
_READERS: Final = 8
"""Clients for which a page is read at a time: each holds a whole page until it is cut."""
_PARTING: Final = 2.0
"""Seconds that clients get to take the end of their streams when the server stops."""


class Fanout:
    """The one reader, and its clients."""

    def __init__(self, log: EventLog, *, window: int = WINDOW) -> None:
        """Read ``log``; keep ``window`` events."""
        self._log = log
        self._count = window
        self._window = Window(window, WINDOW_BYTES)
        self._news = asyncio.Event()
        self._clients: set[Callable[[], None]] = set()
        self.most = 0
        """Clients that there may be; whoever serves sets it."""
        self.closing = False
        self._ready = asyncio.Event()
        self._paging = asyncio.Semaphore(_READERS)
        self._reader: asyncio.Task[None] | None = None
        self._waking: asyncio.TimerHandle | None = None
        self._cutting: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read(), name="event reader")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        for timer in (self._waking, self._cutting):
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """End every stream in order; each client knows its position and comes again.

        Who does not take the end within two seconds is cut off.
        """
        self.closing = True
        self._ready.set()
        self._wake()
        if self._cutting is None:
            self._cutting = asyncio.get_running_loop().call_later(_PARTING, self._cut_off)

    def _cut_off(self) -> None:
        for cut in tuple(self._clients):
            cut()

    @contextmanager
    def client(self, cut: Callable[[], None]) -> Generator[None]:
        """Count a client while the block runs; ``cut`` ends its connection, whatever still waits to be sent."""
        self._clients.add(cut)
        try:
            yield
        finally:
            self._clients.discard(cut)

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients)

    @property
    def kept(self) -> int:
        """How many events are in memory, for all clients together."""
        return len(self._window)

    @property
    def tip(self) -> int:
        """Number of the newest event that has been read."""
        return self._window.tip

    async def head(self) -> int:
        """Return the number up to which the log is complete."""
        return await self._log.head()

    async def follow(self, after: int, wanted: Filter, heartbeat: float) -> AsyncGenerator[Batch, None]:
        """Yield what comes behind ``after``, in order, none twice; in silence an empty one each ``heartbeat`` seconds.

        Events that the client does not want are silence, too, and move its position. Ends when the server closes.
        Raises ``UnavailableError`` when the store is away and the window is not enough.
        """
        await self._ready.wait()
        position, live, limit = after, False, _FEW
        clock = asyncio.get_running_loop().time
        told = clock()
        while not self.closing:
            news = self._news
            if position < self._window.floor:
                batch, limit = await self._page(position, wanted, limit, resync=live)
                live = False
            else:
                batch, limit = self._window.take(position, wanted), _FEW
                live = True
            moved = batch.position > position
            position = batch.position
            if batch.events or batch.resync or clock() - told >= heartbeat:
                yield batch
                told = clock()
            elif not moved:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(told + heartbeat):
                        await news.wait()

    async def _page(self, position: int, wanted: Filter, limit: int, *, resync: bool) -> tuple[Batch, int]:
        """Read the next page for one client from the store; return with it how many events the next one may have."""
        whole = [kind for kind in wanted.kinds if not kind.endswith(".")]
        kinds = whole if wanted.kinds and len(whole) == len(wanted.kinds) else None
        async with self._paging:
            tip = await self._log.head()
            found = await self._log.read(position, limit, kinds=kinds, task_id=wanted.task_id, agent=wanted.agent)
            events, seen = piece((sendable(event) for event in found), wanted)
        if seen < len(found) or len(found) == limit:
            end = found[seen - 1].seq
        else:
            end = max(tip, found[-1].seq if found else position)
        return Batch(events=events, position=end, resync=resync), min(PAGE, 2 * seen + 1)

    async def _read(self) -> None:
        """Follow the log; begin a window back, so that clients of a restarted server find their place in memory."""
        begun = False
        while True:
            try:
                if not begun:
                    self._window.begin(max(0, await self._log.head() - self._count))
                    begun = True
                while page := await self._log.read(self.tip, PAGE):
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
        self._window.add(events)
        if self._waking is None:
            pace = min(_PACE[1], max(_PACE[0], self.clients * _EACH))
            self._waking = asyncio.get_running_loop().call_later(pace, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._news.set()
        self._news = asyncio.Event()
