"""Who may call a model, and when: the whole fleet keeps one quota for each account and model.

The governor makes no request by itself. Finding out whether something works again is the work of a real call that
waits anyway, one in the fleet at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import blake2s
from typing import Any, Self

from ezaigent.agents.governor import changes
from ezaigent.agents.governor.accounts import accounts_of
from ezaigent.agents.governor.gate import Ask, Permit
from ezaigent.agents.governor.lane import Lane
from ezaigent.agents.governor.shared import CHANNEL, Link, News
from ezaigent.agents.ports import Blocked
from ezaigent.core.ids import new_id
from ezaigent.core.settings import ProviderSettings, Settings
from ezaigent.live import LiveBus, MemoryBus


class Governor:
    """The gate of one worker. Close it with ``await governor.aclose()``, or use it as an async context manager."""

    def __init__(self, settings: Settings, bus: LiveBus | None = None, *, news: News | None = None) -> None:
        """Share the quotas of the providers in ``settings`` over ``bus``; without one, inside the process.

        ``news`` is told what everybody should know, with an event kind and its data.
        """
        self._settings = settings
        self._link = Link(bus or MemoryBus(), new_id(), news)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is under way and stop listening."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self._link.close()

    async def admit(self, ask: Ask) -> Permit:
        """See ``Gate.admit``."""
        self._listen()
        self._be_present()
        return await self.lane(ask.provider, ask.model).admit(ask)

    @property
    def busy(self) -> bool:
        """Whether a change is still on its way to the other workers."""
        return self._link.busy

    def lane(self, provider: str, model: str) -> Lane:
        """Return the way to one model."""
        place = (provider, model)
        if place not in self._lanes:
            given = self._settings.providers.get(provider) or ProviderSettings()
            where = blake2s((given.base_url or "").encode(), digest_size=4).hexdigest() if given.base_url else "home"
            accounts = accounts_of(provider, self._settings)
            self._lanes[place] = Lane(self._link, f"{provider}@{where}:{model}", provider, model, accounts)
        return self._lanes[place]

    def blocked(self, models: Sequence[str]) -> Blocked | None:
        """Return why all of ``models`` (as ``provider:name``) are parked; None if one may be asked, as far as is known.

        No model is asked for it: it is what this worker has heard. Those without a key are passed over. Call it on the
        governor's event loop; a model that it is asked about for the first time is looked up in the background.
        """
        self._listen()
        why: Blocked | None = None
        for name in models:
            provider, _, model = name.partition(":")
            new, lane = (provider, model) not in self._lanes, self.lane(provider, model)
            if all(account.key is None for account in lane.accounts.values()):
                continue
            if new:
                self._link.spawn(lane.shared.look())
            found = lane.blocked()
            if found is None:
                return None
            why = found if why is None else min(why, found, key=_order)
        return why

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in the news that another governor told of a parked model: they need not share a live bus."""
        lane, account = self.lane(str(data.get("provider")), str(data.get("model"))), str(data.get("account"))
        if account not in lane.accounts:
            return
        now = self._link.now()
        if kind == "model.unparked":
            lane.shared.apply(changes.unparked(account), told=True)
        elif kind in ("model.parked", "model.still_parked") and (left := float(data.get("until") or 0) - now) > 0:
            why = changes.parked(
                account, kind=str(data["kind"]), reason=str(data["reason"]), now=now, since=now, until=left
            )
            lane.shared.apply(why, told=True)

    def _listen(self) -> None:
        """Hear from now on what the other workers learn."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="governor: listening")

    def _be_present(self) -> None:
        """Count among those that call models; look anew where something may have been missed."""
        if self._link.be_present():
            for lane in self._lanes.values():
                self._link.spawn(lane.shared.look())

    async def _follow(self) -> None:
        async with self._link.bus.subscribe(CHANNEL) as messages:
            async for _, word in messages:
                version, _, sheet = word.decode().partition(" ")
                for lane in self._lanes.values():
                    if lane.sheet == sheet:
                        await lane.shared.refresh(int(version))


def _order(blocked: Blocked) -> tuple[bool, float]:
    """Return how soon somebody finds out: first who may now, then who is being asked, then by the time."""
    return not blocked.trial, blocked.until or 0.0
