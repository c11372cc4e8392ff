"""The live bus: what is happening now and may be lost without harm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

OnState = Callable[[bool, str], None]
"""Called once when the bus is lost, with ``False`` and the reason, and once when it is back, with ``True``."""

REMEMBERED: Final = 1024
"""Rings of one bell that are kept while nobody waits for it: as many as one fleet has idle agents."""
REMEMBERED_SECONDS: Final = 60.0
"""How long they are kept; later the sweep over the store has found the work anyway."""
BACKLOG: Final = 1000
"""Messages kept for one slow subscriber; then its oldest ones are dropped."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A small shared document."""

    version: int
    """Grows with each change; 0: nothing is written."""
    text: bytes
    now: float
    """Seconds by the bus's clock, the same for everybody who shares it."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What is wanted of one bucket of a sheet."""

    bucket: str
    amount: float
    """Negative: so much is given back."""
    rate: float
    """What flows in, a second."""
    burst: float
    """What the bucket holds at most; a new one is full."""
    at_most: float | None = None
    """Before anything is drawn, the level is lowered to this."""
    at_least: float | None = None
    """Before anything is drawn, the level is raised to this."""
    since: float | None = None
    """The bounds were true when so much had been drawn in total: what was drawn since then is taken off them."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of a draw."""

    sheet: Sheet
    granted: bool
    """Whether the amounts were drawn."""
    stale: bool
    """Whether they were not because the sheet has another version than the one named."""
    wait: float
    """Seconds until what was drawn may be used; where it was not granted, what the wait would have been."""
    totals: tuple[float, ...]
    """For each bucket, the sum of all that was ever drawn from it."""


class LiveBus(Protocol):
    """Doorbells, publish/subscribe, presence, token buckets and sheets.

    No method raises because the bus is lost: each says below what it does then. All names (bells, channels, groups,
    members, buckets) are plain strings; all times are seconds.
    """

    @property
    def up(self) -> bool:
        """Whether the bus can be reached. Always true in the process."""
        ...

    async def ring(self, bell: str, count: int = 1) -> None:
        """Wake at most ``count`` waiters, each once; what wakes nobody is remembered (``REMEMBERED``) for later ones.

        While the bus is lost only waiters of this process are woken.
        """
        ...

    async def wait(self, bells: Sequence[str], timeout: float) -> str | None:
        """Wait until one of ``bells`` rings and return it; ``None`` after ``timeout`` seconds.

        A cancelled wait takes no ring with it. While the bus is lost this sleeps out the timeout, so callers poll.
        """
        ...

    async def publish(self, channel: str, message: bytes) -> None:
        """Send ``message`` to everybody who is subscribed now; while the bus is lost, to nobody."""
        ...

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, bytes]]]:
        """Receive ``(channel, message)`` of everything published after the context was entered.

        Entered while the bus is lost, or losing it later, there is a gap until it is back. A reader that falls
        behind loses its oldest messages beyond ``BACKLOG``. The iteration ends when the bus is closed.
        """
        ...

    async def announce(self, group: str, member: str, info: Mapping[str, Any], ttl: float) -> None:
        """Say that ``member`` is present for ``ttl`` seconds more, with ``info`` (JSON); repeat it to stay present."""
        ...

    async def leave(self, group: str, member: str) -> None:
        """Say that ``member`` is gone, before its time is over."""
        ...

    async def present(self, group: str) -> dict[str, dict[str, Any]]:
        """Return who is present and with what info; nobody while the bus is lost."""
        ...

    async def take(self, bucket: str, amount: float, *, rate: float, burst: float) -> float:
        """Take ``amount`` from a bucket that holds ``burst`` and refills by ``rate`` a second.

        Return 0.0 when granted, else the seconds to wait before asking again; then nothing was taken. Everybody who
        shares a bucket names the same rate and burst. While the bus is lost each process has a bucket of its own.
        Raises ``UsageError`` when the amount could never be granted.
        """
        ...

    async def swap(self, sheet: str, version: int, text: bytes, *, ttl: float) -> Sheet | None:
        """Write ``text`` if the sheet still has ``version`` (0: if there is none); return the sheet as it is then.

        Its version grew where it was written. A sheet that nobody uses for ``ttl`` seconds is forgotten. ``None``
        while the bus is lost.
        """
        ...

    async def draw(
        self, sheet: str, version: int | None, draws: Sequence[Draw], *, patience: float, ttl: float
    ) -> Drawn | None:
        """Draw from several buckets of a sheet together; a level may go below 0, and the wait tells how long it is so.

        Drawing is queueing up: nobody who comes later goes first, and the wait is exact. Nothing is drawn where the
        wait would be longer than ``patience`` seconds, or where the sheet has another version (``None``: any will
        do). What was drawn and is not used is given back by a draw of the negative amount. ``None`` while the bus is
        lost. Raises ``UsageError`` for a rate or burst that is not above 0.
        """
        ...

    async def close(self) -> None:
        """Let go of everything: waits return ``None``, subscriptions end. Closing twice is fine."""
        ...
