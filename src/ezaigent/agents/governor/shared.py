"""What this worker knows of one model, kept the same as what every other worker knows, over the live bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ezaigent.agents.governor.changes import Change
from ezaigent.agents.governor.state import Limit, ModelState, dump, load
from ezaigent.live import Draw, Drawn, LiveBus, MemoryBus, Sheet

News = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Told an event kind and its data, once in the fleet, when what is known of a model changed for everybody."""

CHANNEL: Final = "governor"
"""Where sheets that changed are named."""
_KEPT: Final = 7 * 86400.0
"""Seconds that a model which nobody calls is remembered."""
_GROUP: Final = "governors"
_PRESENT: Final = 30.0
_OLDEST: Final = 32
"""Changes that are kept for the time when the bus is back."""
_CLOSING: Final = 3.0


class Link:
    """What the models of one governor share: the bus, its clock, the number of workers, the work under way."""

    def __init__(self, bus: LiveBus, worker: str, news: News | None) -> None:
        """Reach the fleet over ``bus`` as ``worker``; ``news`` is told what everybody should know."""
        self.bus = bus
        self.alone: Final = MemoryBus()
        """The buckets of this worker by itself, while the bus is lost."""
        self.peers = 1
        """Workers that called a model lately, this one included."""
        self._worker = worker
        self._news = news
        self._offset = time.time() - time.monotonic()
        self._announced = -_PRESENT
        self._up = True
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return bool(self._tasks)

    def now(self) -> float:
        """Return the bus's time."""
        return time.monotonic() + self._offset

    def heard(self, sheet: Sheet) -> None:
        """Set the clock."""
        self._offset = sheet.now - time.monotonic()

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Say what everybody should know."""
        if self._news is not None:
            self.spawn(self._say(self._news, kind, data))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something without holding up the call that it belongs to."""
        task = asyncio.get_running_loop().create_task(work, name="governor")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def be_present(self) -> bool:
        """Count this worker among those that share the quotas, for a while; return whether that was news.

        It is news every ten seconds, and when the bus is back: time to look whether it still has what it was given.
        """
        now, back = time.monotonic(), self.bus.up and not self._up
        self._up = self.bus.up
        if not back and now - self._announced <= _PRESENT / 3:
            return False
        self._announced = now
        self.spawn(self._announce())
        return True

    async def close(self) -> None:
        """Finish what is under way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_CLOSING)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.bus.leave(_GROUP, self._worker)

    async def _announce(self) -> None:
        if self.bus.up:
            await self.bus.announce(_GROUP, self._worker, {}, _PRESENT)
            present = await self.bus.present(_GROUP)
            self.peers = len(present) or self.peers

    async def _say(self, news: News, kind: str, data: Mapping[str, Any]) -> None:
        await news(kind, data)


class Shared:
    """One model's state and buckets.

    A change is seen here at once, and by the others as soon as it is written. Of two workers that change the state at
    the same time the second makes its change again, to what the first one wrote.
    """

    def __init__(self, link: Link, sheet: str, about: Mapping[str, Any], on_change: Callable[[], None]) -> None:
        """Keep the state in ``sheet``; ``about`` goes into each event, ``on_change`` is called after each change."""
        self.state = ModelState()
        self._link = link
        self._sheet = sheet
        self._about = dict(about)
        self._on_change = on_change
        self._written = ModelState()  # as the bus has it, of version _version
        self._version = 0
        self._pending: list[tuple[Change, bool]] = []  # with whether it was told already
        self._pushing = asyncio.Lock()

    def apply(self, change: Change, *, told: bool = False) -> None:
        """Change the state here now, and for everybody soon; ``told``: people know of it already."""
        after = change(self.state)
        if after != self.state:
            self.state = after
            self._pending = [*self._pending[-_OLDEST:], (change, told)]
            self._on_change()
            self._link.spawn(self._push())

    async def claim(self, change: Change) -> bool:
        """Change the state only if it is still what everybody knows; return whether it was."""
        await self._push()
        async with self._pushing:
            after = change(self.state)
            if after == self.state:
                return False
            text = dump(after)
            sheet = await self._link.bus.swap(self._sheet, self._version, text, ttl=_KEPT)
            if sheet is not None and sheet.text != text:
                self._adopt(sheet)
                return False
            if sheet is not None:
                self._take(sheet, after)
            else:
                self.state = after
            self._on_change()
            return True

    async def draw(self, draws: Sequence[Draw], *, patience: float) -> Drawn:
        """Draw from the shared buckets, as long as everybody knows what this worker knows; else ``stale``."""
        drawn = await self._link.bus.draw(self._sheet, self._version, draws, patience=patience, ttl=_KEPT)
        if drawn is None:
            return await self._draw_alone(draws, patience=patience)
        self._link.heard(drawn.sheet)
        if drawn.stale:
            self._adopt(drawn.sheet)
        elif self._pending and not self._pushing.locked():
            self._link.spawn(self._push())
        return drawn

    async def settle(self, draws: Sequence[Draw]) -> None:
        """Put the buckets right after a call."""
        if await self._link.bus.draw(self._sheet, None, draws, patience=1e9, ttl=_KEPT) is None:
            await self._draw_alone([replace(one, since=None, at_least=None) for one in draws], patience=1e9)

    def settle_soon(self, draws: Sequence[Draw]) -> None:
        """Put the buckets right without waiting for it."""
        if draws:
            self._link.spawn(self.settle(draws))

    async def refresh(self, version: int) -> None:
        """Learn what another worker wrote, unless it is known."""
        if version != self._version:
            await self.look()

    async def look(self) -> None:
        """Learn what the bus has; tell it what it has forgotten."""
        sheet = await self._link.bus.swap(self._sheet, -1, b"", ttl=_KEPT)
        if sheet is not None:
            self._adopt(sheet)

    async def _draw_alone(self, draws: Sequence[Draw], *, patience: float) -> Drawn:
        """Go on with this worker's part of what was learned: no part of the fleet may pass its share."""
        part = self._link.peers
        mine = [
            replace(
                one,
                rate=one.rate / part,
                burst=max(1.0, one.burst / part, one.amount),
                at_most=None if one.at_most is None else one.at_most / part,
            )
            for one in draws
        ]
        drawn = await self._link.alone.draw(self._sheet, None, mine, patience=patience, ttl=_KEPT)
        assert drawn is not None
        return drawn

    async def _push(self) -> None:
        async with self._pushing:
            while self._pending or (self._version == 0 and self._written != ModelState()):
                made = list(self._pending)
                after = self._written
                for change, _ in made:
                    after = change(after)
                if after == self._written and self._version:
                    self._pending = self._pending[len(made) :]
                    self.state = after if not self._pending else self.state
                    continue
                text = dump(after)
                sheet = await self._link.bus.swap(self._sheet, self._version, text, ttl=_KEPT)
                before = self._written
                for change, told in made:
                    before = change(before) if told else before
                if sheet is None:
                    self._tell(before, after)
                    self._pending = [(change, True) for change, _ in made] + self._pending[len(made) :]
                    return  # it is written when something is heard of the bus again
                if sheet.text != text:
                    self._adopt(sheet)
                    continue
                self._pending = self._pending[len(made) :]
                self._take(sheet, after)
                self._tell(before, after)

    def _take(self, sheet: Sheet, after: ModelState) -> None:
        """Take in that the bus has what this worker wrote, and say so to the others."""
        self._link.heard(sheet)
        self._version, self._written = sheet.version, after
        self._replay()
        word = f"{sheet.version} {self._sheet}".encode()
        self._link.spawn(self._link.bus.publish(CHANNEL, word))

    def _adopt(self, sheet: Sheet) -> None:
        """Take in what the bus has."""
        self._link.heard(sheet)
        self._version = sheet.version
        if sheet.version:
            self._written = load(sheet.text)
        # An empty bus has forgotten what this worker still knows.
        if self._pending or (not sheet.version and self._written != ModelState()):
            self._link.spawn(self._push())
        before = self.state
        self._replay()
        if self.state != before:
            self._on_change()

    def _replay(self) -> None:
        self.state = self._written
        for change, _ in self._pending:
            self.state = change(self.state)

    def _tell(self, before: ModelState, after: ModelState) -> None:
        for name, now in after.accounts.items():
            old, about = before.account(name), {**self._about, "account": name}
            if (limits := _shape(now.limits)) != _shape(old.limits):
                self._link.tell("model.limits", {**about, "limits": limits})
            if now.parked is not None and (old.parked is None or old.parked.span.at != now.parked.span.at):
                until = now.parked.span.at + now.parked.span.length
                why = {"kind": now.parked.kind, "reason": now.parked.reason, "until": round(until)}
                kind = "model.parked" if old.parked is None else "model.still_parked"
                self._link.tell(kind, {**about, **why})
            if now.parked is None and old.parked is not None:
                self._link.tell("model.unparked", about)
            if now.slow is not None and (old.slow is None or old.slow.pause.at != now.slow.pause.at):
                pace = {"seconds": round(now.slow.pause.length, 3), "requests_per_minute": round(now.slow.rate * 60, 1)}
                self._link.tell("model.slowed", {**about, **pace})
        now_open, was_open = after.breaker, before.breaker
        if now_open.span is not None and was_open.span is None:
            why = {"failures": now_open.failures, "seconds": now_open.span.length, "reason": now_open.reason}
            self._link.tell("model.tripped", {**self._about, **why})
        if now_open.span is None and was_open.span is not None:
            self._link.tell("model.recovered", self._about)


def _shape(limits: Mapping[str, Limit]) -> dict[str, tuple[float, float]]:
    """Return the units of each meter and the seconds in which they come back, rounded: a better figure is no news."""
    return {meter: (round(one.burst), round(one.burst / one.rate)) for meter, one in sorted(limits.items())}
