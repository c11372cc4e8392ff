"""The live bus: doorbells, publish/subscribe, presence, buckets, sheets. What it carries may be lost without harm."""

from __future__ import annotations

from ezaigent.live.memory import MemoryBus
from ezaigent.live.ports import Draw, Drawn, LiveBus, OnState, Sheet
from ezaigent.live.speech import LISTENING, SPEECH, Audience, Piece, interest

__all__ = [
    "LISTENING",
    "SPEECH",
    "Audience",
    "Draw",
    "Drawn",
    "LiveBus",
    "MemoryBus",
    "OnState",
    "Piece",
    "Sheet",
    "interest",
    "open_bus",
]


async def open_bus(url: str | None, on_state: OnState | None = None) -> LiveBus:
    """Open the bus at a Redis URL, or inside the process without one. Close it with ``await bus.close()``.

    A server that cannot be reached raises nothing: the bus begins lost, says so through ``on_state`` and goes on
    trying. Raises ``UsageError`` for a URL that cannot be right. The forms of the URL are those of ``RedisAddress``.
    """
    if url is None:
        return MemoryBus()
    # The driver takes 0.1 s to import, which an embedded fleet need not pay.
    from ezaigent.live.address import parse_address
    from ezaigent.live.redis import RedisBus

    bus = RedisBus(parse_address(url), on_state)
    await bus.start()
    return bus
