"""The newest events, encoded once, for all clients of the process; and what of them one client is sent next."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from ezaigent.core.events import Event

PAGE: Final = 500
"""Events that one client is sent at a time, at the most."""
PIECE: Final = 64 * 1024
"""Bytes after which the piece for one client is long enough; a single event may be longer."""
_SHARED: Final = 32
"""Pieces kept for the next client at the same place with the same filter."""

PRIVATE: Final = "audit."
"""Kinds that only administrators see."""


class Sendable(NamedTuple):
    """An event as it is sent, and what filters ask of it."""

    seq: int
    kind: str
    task_id: str | None
    agent: str | None
    frame: bytes

    @property
    def event(self) -> Event:
        """The event itself, read anew from the frame: nothing else is kept of it."""
        return Event.model_validate_json(self.frame[self.frame.index(b"\ndata: ") + 7 :])


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

    def __call__(self, event: Event | Sendable) -> bool:
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

    events: list[Sendable]
    position: int
    resync: bool = False
    """The client had fallen out of the window: what follows is read for it from the store."""

    @cached_property
    def frames(self) -> bytes:
        """What is sent, once for all clients that share it."""
        return b"".join(one.frame for one in self.events)


class Window:
    """The newest events: as many as ``count``, or as ``size`` bytes hold; up to twice that for a while."""

    def __init__(self, count: int, size: int) -> None:
        """Hold nothing yet, and stand at the beginning of the log."""
        self._count = count
        self._size = size
        self.floor = 0
        """It holds every event above this number, up to ``tip``."""
        self.tip = 0
        self.size = 0
        """Bytes of the frames in it."""
        self._seqs: list[int] = []
        self._kept: list[Sendable] = []
        self._shared: dict[tuple[int, Filter], Batch] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, seq: int) -> None:
        """Stand at this number of the log, with nothing held yet."""
        self.floor = self.tip = seq

    def add(self, events: Sequence[Event]) -> None:
        """Hold these, too, which are the next of the log; let the oldest go when there are too many."""
        fresh = [sendable(event) for event in events]
        self._seqs += [one.seq for one in fresh]
        self._kept += fresh
        self.size += sum(len(one.frame) for one in fresh)
        self.tip = events[-1].seq
        self._shared.clear()
        if len(self._kept) > 2 * self._count or self.size > 2 * self._size:
            self._shrink()

    def _shrink(self) -> None:
        gone = 0
        while len(self._kept) - gone > self._count or (self.size > self._size and gone < len(self._kept)):
            self.size -= len(self._kept[gone].frame)
            gone += 1
        self.floor = self._seqs[gone - 1]
        del self._seqs[:gone], self._kept[:gone]

    def take(self, position: int, wanted: Filter) -> Batch:
        """Return what a client gets that stands at ``position``, which is not below ``floor``."""
        key = (position, wanted)
        batch = self._shared.get(key)
        if batch is None:
            batch = self._take(position, wanted)
            if len(self._shared) >= _SHARED:
                del self._shared[next(iter(self._shared))]
            self._shared[key] = batch
        return batch

    def _take(self, position: int, wanted: Filter) -> Batch:
        start = bisect_right(self._seqs, position)
        events, seen = piece(self._kept[start : start + PAGE], wanted)
        at_tip = start + seen == len(self._kept)
        end = max(position, self.tip) if at_tip else self._seqs[start + seen - 1]
        return Batch(events=events, position=end)


def piece(events: Iterable[Sendable], wanted: Filter) -> tuple[list[Sendable], int]:
    """Return those that are wanted until the piece is long enough, and how many were looked at for them."""
    taken: list[Sendable] = []
    size = seen = 0
    for one in events:
        seen += 1
        if wanted(one):
            taken.append(one)
            size += len(one.frame)
            if size >= PIECE:
                break
    return taken, seen


def sendable(event: Event) -> Sendable:
    """Encode an event; JSON holds no line break, so nothing in it can begin another one."""
    frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), event.model_dump_json().encode())
    return Sendable(event.seq, sys.intern(event.kind), event.task_id, event.agent, frame)
