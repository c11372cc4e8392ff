"""The right to one request: what it draws from the buckets, and what its end teaches the fleet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ezaigent.agents.governor import changes
from ezaigent.agents.governor.accounts import Account
from ezaigent.agents.governor.headers import read_limits
from ezaigent.agents.governor.pace import SAFETY, Pace, paces
from ezaigent.agents.governor.standing import Go, Pause
from ezaigent.agents.heard import Heard
from ezaigent.agents.provider_failure import ProviderFailure
from ezaigent.live import Draw, Drawn

if TYPE_CHECKING:
    from ezaigent.agents.governor.lane import Lane
    from ezaigent.agents.governor.state import ModelState

LONG_WAIT: Final = 900.0
"""A wait of so many seconds that a 429 names is a quota that is used up, and parks the account."""
_SLACK: Final = 0.05
"""Share of a burst by which a bucket may be lower than the provider told, before it is raised to that."""
_REFUSED_KEY: Final = 401


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
