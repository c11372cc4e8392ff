"""Who may call a model, and when: the whole fleet keeps one quota for each account and model.

The governor makes no request by itself. Finding out whether something works again is the work of a real call that
waits anyway, one in the fleet at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import blake2s
from typing import Final, Self

from ezaigent.agents.governor import changes
from ezaigent.agents.governor.accounts import Account, accounts_of
from ezaigent.agents.governor.gate import Ask, Permit, Refused
from ezaigent.agents.governor.headers import read_limits
from ezaigent.agents.governor.pace import SAFETY, Pace, is_known, paces
from ezaigent.agents.governor.shared import CHANNEL, Link, News, Shared
from ezaigent.agents.governor.standing import Closed, Go, Pause, standing
from ezaigent.agents.governor.state import ModelState
from ezaigent.agents.governor.turns import Turn, Turns
from ezaigent.agents.provider_failure import ProviderFailure
from ezaigent.agents.transport import Heard
from ezaigent.core.ids import new_id
from ezaigent.core.settings import ProviderSettings, Settings
from ezaigent.live import Draw, Drawn, LiveBus, MemoryBus

NOTICE: Final = 1.0
"""Seconds of waiting after which people are told."""
WINDOW: Final = 4
"""Calls that a worker has under way to an account of which nothing is known; each answer adds one."""
LONG_WAIT: Final = 900.0
"""A wait of so many seconds that a 429 names is a quota that is used up, and parks the account."""
_SLACK: Final = 0.05
"""Share of a burst by which a bucket may be lower than the provider told, before it is raised to that."""
_MEASURE: Final = 10.0
"""Seconds over which the fleet's rate is measured."""
_MEMORY: Final = 0.98
"""What of the count of an account's calls is left after each call: keys share the calls of late, not of all time."""
_REFUSED_KEY: Final = 401


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

    def blocked(self, models: Sequence[str]) -> ProviderFailure | None:
        """Return why none of ``models`` (as ``provider:name``) may be asked now; None if one may, as far as is known.

        No model is asked for it: it is what this worker has heard. Those without a key are passed over. Call it on the
        governor's event loop; a model that it is asked about for the first time is looked up in the background.
        """
        self._listen()
        why: ProviderFailure | None = None
        for name in models:
            provider, _, model = name.partition(":")
            if all(account.key is None for account in accounts_of(provider, self._settings)):
                continue
            if (provider, model) not in self._lanes:
                self._link.spawn(self.lane(provider, model).shared.look())
            found = self.lane(provider, model).standing()
            if not isinstance(found, Closed):
                return None
            why = why or found.failure
        return why

    def _listen(self) -> None:
        """Hear from now on what the other workers learn; look anew where something may have been missed."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="governor: listening")
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


class Lane:
    """The way to one model, for all agents of this worker."""

    def __init__(self, link: Link, sheet: str, provider: str, model: str, accounts: Sequence[Account]) -> None:
        """Queue up for ``model`` with these accounts; what is known of it is shared as ``sheet``."""
        self.sheet = sheet
        self.link = link
        self.provider = provider
        self.model = model
        self.accounts = {account.name: account for account in accounts}
        self.turns = Turns()
        self.shared = Shared(link, sheet, {"provider": provider, "model": model}, self.turns.wake_all)
        self.ratio = 0.4
        """Input tokens that the provider counts for each one that was expected."""
        self.output = 500.0
        """Output tokens of an answer, of late."""
        self._answers = self._measured = 0
        self.window = dict.fromkeys(self.accounts, WINDOW)
        self.under_way = dict.fromkeys(self.accounts, 0)
        self._used = dict.fromkeys(self.accounts, 0.0)
        self._samples: dict[str, deque[tuple[float, float]]] = {name: deque(maxlen=512) for name in self.accounts}

    def standing(self) -> Go | Pause | Closed:
        """Return whether the model may be asked, as far as this worker knows."""
        return standing(self.shared.state, list(self.accounts), self.link.now())

    async def admit(self, ask: Ask) -> Permit:
        """See ``Gate.admit``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ask.patience
        with self.turns.enter() as turn:
            notice = loop.call_later(NOTICE, self._tell_waiting, ask, turn)
            try:
                while True:
                    permit = await self._try(ask, turn, deadline)
                    if permit is not None:
                        return permit
            finally:
                notice.cancel()

    async def _try(self, ask: Ask, turn: Turn, deadline: float) -> Pass | None:
        """Take one look; return the permit, or None after a wait."""
        left = deadline - asyncio.get_running_loop().time()
        found = self.standing()
        if isinstance(found, Closed) and (found.final or ask.alternatives or found.seconds > left):
            raise Refused(found.failure)
        if left <= 0:
            text = f"the shared quota had no room for {ask.patience:.0f} s"
            raise Refused(ProviderFailure("rate_limit", text))
        if not turn.come:
            await turn.wait(left)
            return None
        if not isinstance(found, Go):
            await turn.wait(min(left, found.seconds + 0.001))
            return None
        names = [name for name in found.accounts if self._has_room(name)]
        if not names:
            await turn.wait(left)
            return None
        if found.probe and not await self.shared.claim(changes.probing(found.probed, self.link.now())):
            await turn.wait(0.05)
            return None
        probe = (found.probed,) if found.probe else ()
        permit: Pass | None = None
        try:
            permit = await self._draw(ask, turn, names, left, probe)
        finally:
            if permit is None:
                for name in probe:
                    self.shared.apply(changes.unprobed(name))
        return permit

    def _has_room(self, name: str) -> bool:
        if is_known(self.shared.state.account(name), self.accounts[name].known):
            return True
        return self.under_way[name] < self.window[name]

    async def _draw(
        self, ask: Ask, turn: Turn, names: list[str], patience: float, probe: tuple[str | None, ...]
    ) -> Pass | None:
        """Draw from the account whose turn it is by its weight, or else from the one that has room first."""
        names.sort(key=lambda name: self._used[name] / self.accounts[name].weight)
        waits: dict[str, float] = {}
        for name in names if len(names) > 1 else []:
            permit = Pass(self, self.accounts[name], ask.tokens, probe)
            drawn = await self.shared.draw(permit.draws(), patience=0.0)
            if drawn.stale:
                return None
            if drawn.granted:
                return permit.granted(drawn)
            waits[name] = drawn.wait
        name = min(waits, key=lambda one: waits[one]) if waits else names[0]
        permit = Pass(self, self.accounts[name], ask.tokens, probe)
        drawn = await self.shared.draw(permit.draws(), patience=patience)
        if drawn.stale:
            return None
        if not drawn.granted:
            text = f"the shared quota of {name} is taken for the next {drawn.wait:.0f} s"
            raise Refused(ProviderFailure("rate_limit", text))
        permit.granted(drawn)
        try:
            held = await self._come(permit, turn, drawn.wait)
        except BaseException:
            permit.give_back()
            raise
        if not held:
            permit.give_back()
            return None
        return permit

    async def _come(self, permit: Pass, turn: Turn, seconds: float) -> bool:
        """Wait for what was drawn; return whether it still holds then."""
        loop = asyncio.get_running_loop()
        ready = loop.time() + seconds
        while self._holds(permit):
            left = ready - loop.time()
            if left <= 0:
                permit.since = self.link.now()
                return True
            await turn.wait(left)
        return False

    def _holds(self, permit: Pass) -> bool:
        """Whether nothing was learned since the draw that would let fewer calls through."""
        if permit.probe:
            return True
        found, name = self.standing(), permit.account.name
        return isinstance(found, Go) and name in found.accounts and self.shared.state.account(name).slow == permit.slow

    def begun(self, permit: Pass, drawn: Drawn) -> None:
        """Count a call that was let through."""
        name = permit.account.name
        self.under_way[name] += 1
        self._used = {key: value * _MEMORY for key, value in self._used.items()}
        self._used[name] += 1
        self._samples[name].append((drawn.sheet.now, drawn.totals[0]))

    def ended(self, permit: Pass) -> None:
        """Count it as over."""
        self.under_way[permit.account.name] -= 1
        self.turns.wake_first()

    def measured(self, name: str) -> float | None:
        """Return the requests a second that the whole fleet has made of late; None before the first."""
        samples = self._samples[name]
        if not samples:
            return None
        end, total = samples[-1]
        start, first = next((one for one in samples if end - one[0] <= _MEASURE), samples[-1])
        return max(1.0, total - first + 1) / max(1.0, end - start)

    def counted(self, expected: int, input_tokens: int, output_tokens: int) -> None:
        """Learn from an answer what the next one will count: at first its mean, then that of late."""
        if expected > 0 and input_tokens > 0:
            self._measured += 1
            self.ratio += max(0.1, 1 / self._measured) * (min(1.5, input_tokens / expected) - self.ratio)
        self._answers += 1
        self.output += max(0.1, 1 / self._answers) * (output_tokens - self.output)

    def total(self, name: str) -> float | None:
        """Return how many requests the account has granted, as of the last one seen here."""
        return self._samples[name][-1][1] if self._samples[name] else None

    def _tell_waiting(self, ask: Ask, turn: Turn) -> None:
        found = self.standing()
        seconds: float | None = None
        if isinstance(found, Go):
            name = found.accounts[0]
            state, now = self.shared.state.account(name), self.link.now()
            reason = f"the quota is shared; {turn.ahead} calls of this worker come first"
            if is_known(state, self.accounts[name].known):
                seconds = (turn.ahead + 1) / paces(state, self.accounts[name].known, now)["requests"].rate
        elif isinstance(found, Pause):
            name, reason, seconds = next(iter(self.accounts)), found.reason, found.seconds
        else:
            name, reason, seconds = next(iter(self.accounts)), found.failure.message, found.seconds
        about = {"provider": self.provider, "model": self.model, "account": name}
        told = None if seconds is None else round(seconds, 1)
        ask.note("model.waiting", {**about, "reason": reason, "seconds": told})


class Pass:
    """See ``Permit``."""

    def __init__(self, lane: Lane, account: Account, tokens: Callable[[], int], probe: tuple[str | None, ...]) -> None:
        """Prepare a call by ``account`` of about so many input ``tokens``.

        ``probe``: what the call finds out for the fleet, a parked account or (None) the model.
        """
        self.account = account
        self.since = lane.link.now()
        self.probe = probe
        self.slow = lane.shared.state.account(account.name).slow
        self._lane = lane
        self._tokens = tokens
        self._expected: int | None = None
        self._drawn: dict[str, float] = {}
        self._totals: dict[str, float] = {}

    @property
    def key(self) -> str | None:
        """See ``Permit.key``."""
        return self.account.key

    def draws(self) -> list[Draw]:
        """Return what the call needs now."""
        found: list[Draw] = []
        for meter, pace in self._paces().items():
            # What is larger than the quota is let through when the quota is whole, as providers do.
            amount = min(self._amount(meter), self._whole(meter, pace.burst))
            self._drawn[meter] = amount
            found.append(Draw(self._bucket(meter), amount, pace.rate, max(pace.burst, amount)))
        return found

    def granted(self, drawn: Drawn) -> Pass:
        """Take in that the draws were granted."""
        self._totals = dict(zip(self._drawn, drawn.totals, strict=True))
        self._lane.begun(self, drawn)
        self.since = self._lane.link.now()
        return self

    def give_back(self) -> None:
        """Return what was drawn: the request is not made."""
        paces_now = self._paces()
        back = [
            Draw(self._bucket(meter), -amount, pace.rate, pace.burst)
            for meter, amount in self._drawn.items()
            if (pace := paces_now.get(meter)) is not None
        ]
        self._lane.shared.settle_soon(back)
        self._lane.ended(self)

    def answered(self, heard: Heard, *, input_tokens: int, output_tokens: int) -> None:
        """See ``Permit.answered``."""
        lane, name = self._lane, self.account.name
        lane.counted(self._expected or 0, input_tokens, output_tokens)
        used = {
            "requests": 1.0,
            "tokens": float(input_tokens + output_tokens),
            "input_tokens": float(input_tokens),
            "output_tokens": float(output_tokens),
        }
        self._settle(used, heard)
        lane.shared.apply(changes.answered(name, self.since))
        lane.window[name] += 1
        lane.ended(self)

    def failed(self, failure: ProviderFailure, heard: Heard) -> bool:
        """See ``Permit.failed``."""
        lane, now = self._lane, self._lane.link.now()
        self._settle(dict.fromkeys(self._drawn, 0.0) | {"requests": 1.0}, heard)
        held = False
        if failure.kind == "rate_limit" and (failure.retry_after or 0.0) < LONG_WAIT:
            self._slow(failure, now)
            held = True
        elif failure.kind in ("rate_limit", "quota", "billing"):
            until = failure.retry_after if failure.kind == "rate_limit" else failure.resets_in
            kind = "billing" if failure.kind == "billing" else "quota"
            self._park(kind, failure, now, until)
            held = isinstance(lane.standing(), (Go, Pause))
        elif failure.status == _REFUSED_KEY and len(lane.accounts) > 1:
            self._park("auth", failure, now, None)
            held = isinstance(lane.standing(), (Go, Pause))
        elif failure.kind in ("overload", "transient"):
            change = changes.failed(reason=failure.message, now=now, since=self.since, asked=failure.retry_after)
            lane.shared.apply(change)
        self._free_probes()
        lane.ended(self)
        return held

    def dropped(self) -> None:
        """See ``Permit.dropped``."""
        self._free_probes()
        self._lane.ended(self)

    def _slow(self, failure: ProviderFailure, now: float) -> None:
        lane, name = self._lane, self.account.name
        measured = lane.measured(name)
        lane.shared.apply(
            changes.limited(
                name,
                now=now,
                since=self.since,
                asked=failure.retry_after,
                total=lane.total(name),
                known=self.account.known,
            )
        )
        if measured is not None and not self.account.known:
            lane.shared.apply(changes.first_rate(name, measured))

    def _park(self, kind: str, failure: ProviderFailure, now: float, until: float | None) -> None:
        change = changes.parked(
            self.account.name, kind=kind, reason=failure.message, now=now, since=self.since, until=until
        )
        self._lane.shared.apply(change)

    def _free_probes(self) -> None:
        for name in self.probe:
            self._lane.shared.apply(changes.unprobed(name))

    def _settle(self, used: dict[str, float], heard: Heard) -> None:
        """Correct the buckets by what was really used and by what the provider says is left, then learn its limits.

        In this order: whom the new limits wake must find the buckets right.
        """
        told = read_limits(heard.headers, time.time())
        learned = changes.learned(self.account.name, told)
        left = {one.meter: one for one in told}
        age = max(0.0, self._lane.link.now() - self.since)
        draws: list[Draw] = []
        for meter, pace in self._paces(learned(self._lane.shared.state)).items():
            one = left.get(meter)
            if one is None:
                more = used.get(meter, 0.0) - self._drawn.get(meter, 0.0)
                if more:
                    draws.append(Draw(self._bucket(meter), more, pace.rate, pace.burst))
                continue
            # Told for the moment when the request came in; since then others have drawn and some has flowed in.
            level = one.remaining + pace.rate * age
            draws.append(
                Draw(
                    self._bucket(meter),
                    0.0,
                    pace.rate,
                    pace.burst,
                    at_most=level,
                    at_least=level - _SLACK * one.limit,
                    since=self._totals.get(meter),
                )
            )
        self._lane.shared.settle_soon(draws)
        if told:
            self._lane.shared.apply(learned)

    def _paces(self, state: ModelState | None = None) -> dict[str, Pace]:
        account = (state or self._lane.shared.state).account(self.account.name)
        return paces(account, self.account.known, self._lane.link.now())

    def _amount(self, meter: str) -> float:
        """Return what the call will probably use."""
        if meter == "requests":
            return 1.0
        if self._expected is None:
            self._expected = self._tokens()
        inward = self._expected * self._lane.ratio
        return {"input_tokens": inward, "output_tokens": self._lane.output}.get(meter, inward + self._lane.output)

    def _whole(self, meter: str, burst: float) -> float:
        """Return the whole burst of a meter, however little of it is believed in now."""
        limits = (self._lane.shared.state.account(self.account.name).limits.get(meter), self.account.known.get(meter))
        return min((limit.burst * SAFETY for limit in limits if limit is not None), default=burst)

    def _bucket(self, meter: str) -> str:
        return f"{self.account.name}:{meter}"
