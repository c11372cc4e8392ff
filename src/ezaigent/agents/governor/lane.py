"""The way to one model: the queue of one worker's calls, the choice of an account, the wait for what was drawn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from ezaigent.agents.governor import changes
from ezaigent.agents.governor.accounts import Account
from ezaigent.agents.governor.gate import Ask, Permit, Refused
from ezaigent.agents.governor.pace import is_known, paces
from ezaigent.agents.governor.permit import Pass
from ezaigent.agents.governor.shared import Link, Shared
from ezaigent.agents.governor.standing import Closed, Go, Pause, blocked, standing
from ezaigent.agents.governor.turns import Turn, Turns
from ezaigent.agents.ports import Blocked
from ezaigent.agents.provider_failure import ProviderFailure
from ezaigent.live import Drawn

NOTICE: Final = 1.0
"""Seconds of waiting after which people are told."""
WINDOW: Final = 4
"""Calls that a worker has under way to an account of which nothing is known; each answer adds one."""
_MEASURE: Final = 10.0
"""Seconds over which the fleet's rate is measured."""
_MEMORY: Final = 0.98
"""What of the count of an account's calls is left after each call: keys share the calls of late, not of all time."""


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

    def blocked(self) -> Blocked | None:
        """Return why the model is parked, as far as this worker knows; None where it is not."""
        return blocked(self.shared.state, list(self.accounts), self.link.now())

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
