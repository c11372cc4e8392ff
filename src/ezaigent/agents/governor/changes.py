"""How answers and failures change what is known of a model: pure functions from a state to the next one.

Each may be applied again to a newer state that another worker wrote meanwhile; what that one already took in changes
nothing a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from ezaigent.agents.governor.headers import Told
from ezaigent.agents.governor.pace import request_rate
from ezaigent.agents.governor.state import AccountState, Breaker, Limit, ModelState, Parked, Slow, Span

Change = Callable[[ModelState], ModelState]

FAILURES: Final = 5
"""Failures in a row, over the whole fleet, after which a model is left alone."""
FAILURE_SPAN: Final = 120.0
"""Seconds after which a failure no longer counts as one of the row."""
FIRST_OPEN: Final = 5.0
"""Seconds that a model is left alone first; doubles each time up to ``LONGEST_OPEN``."""
LONGEST_OPEN: Final = 300.0
FIRST_PARK: Final = 600.0
"""Seconds that an empty quota of unknown end is left alone first; doubles each time up to ``LONGEST_PARK``."""
LONGEST_PARK: Final = 6 * 3600.0
SHORTEST_PARK: Final = 1.0
"""Seconds that an empty quota is left alone at least, whatever end the provider names; doubles each time that this was
too early, up to ``FIRST_PARK``."""
LONGEST_PAUSE: Final = 60.0
"""Longest pause, in seconds, where the provider names none."""
PROBE: Final = 600.0
"""Seconds after which a call that was to find out counts as lost with its worker."""
_SETTLED: Final = 20.0
"""Seconds of calls going well after which a 429 is news, and no longer the search for a first rate."""
_EVIDENCE: Final = (1.0, 10.0)
"""Seconds and calls from which on a rate is measured."""
_LEAST_USED: Final = 0.01
"""Share of a quota that must be used before its rate is told from the time of its refill."""
_USUAL: Final = 0.15
"""Share by which a measured window may differ from a minute or a day and still be one."""
_MINUTE, _DAY = 60.0, 86400.0


def learned(account: str, told: Iterable[Told]) -> Change:
    """Take in limits that the provider told."""
    news = list(told)

    def change(state: ModelState) -> ModelState:
        kept = state.account(account)
        limits = dict(kept.limits)
        for one in news:
            limits[one.meter] = _limit(one, limits.get(one.meter))
        return state if limits == kept.limits else _with(state, account, replace(kept, limits=limits))

    return change


def limited(
    account: str, *, now: float, since: float, asked: float | None, total: float | None, known: Mapping[str, Limit]
) -> Change:
    """Take in a 429 of a call that was let through at ``since``.

    ``asked`` is the wait that the provider named, ``total`` what the account's bucket has granted so far.
    """

    def change(state: ModelState) -> ModelState:
        kept = state.account(account)
        slow = kept.slow
        if slow is not None and since < slow.pause.at + slow.pause.length:
            # The call had left before the fleet knew: at most the pause is longer.
            if asked is None or now + asked <= slow.pause.at + slow.pause.length + 0.05:
                return state
            longer = replace(slow, pause=Span(slow.pause.at, now + asked - slow.pause.at))
            return _with(state, account, replace(kept, slow=longer))
        settled = slow is not None and slow.pause.past(now) > _SETTLED
        strikes = 1 if slow is None or settled else slow.strikes + 1
        length = asked if asked is not None else min(LONGEST_PAUSE, 2.0 ** (strikes - 1))
        trust = 0.5 if slow is None else max(0.05, min(1.0, slow.trust + slow.pause.past(now) / 600.0) / 2)
        rate = _lower_rate(kept, known, now, total=total, settled=settled)
        next_slow = Slow(Span(now, max(0.05, length)), rate, trust, strikes, total, sure=settled)
        return _with(_alive(state), account, replace(kept, slow=next_slow))

    return change


def _lower_rate(
    kept: AccountState, known: Mapping[str, Limit], now: float, *, total: float | None, settled: bool
) -> float:
    """Return the requests a second to go on with after a 429.

    Between two 429s the provider's bucket went from empty to empty: what it granted meanwhile is its true rate.
    """
    slow = kept.slow
    allowed = request_rate(kept, known, now)
    between = 0.0 if slow is None else now - slow.pause.at
    granted = 0.0 if slow is None or slow.total is None or total is None else total - slow.total
    if between >= _EVIDENCE[0] and granted >= _EVIDENCE[1]:
        granted *= 0.9 / between
        return max(1 / 120, granted if allowed is None else min(granted, 0.9 * allowed))
    if allowed is None:
        return 1.0
    return max(1 / 120, allowed * (0.9 if settled or kept.limits or known else 0.5))


def first_rate(account: str, measured: float) -> Change:
    """Take in, with an account's first 429, at what rate the fleet had asked: half of it is the first guess."""

    def change(state: ModelState) -> ModelState:
        kept = state.account(account)
        if kept.slow is None or kept.slow.strikes > 1 or kept.limits:
            return state
        return _with(state, account, replace(kept, slow=replace(kept.slow, rate=max(kept.slow.rate, measured / 2))))

    return change


def parked(account: str, *, kind: str, reason: str, now: float, since: float, until: float | None) -> Change:
    """Take in an empty quota or purse, or a key that is refused; ``until`` is the seconds to its known end."""

    def change(state: ModelState) -> ModelState:
        kept = state.account(account)
        old = kept.parked
        if old is not None and since < old.span.at + old.span.length:
            return state  # the call had left before the fleet knew
        tries = 0 if old is None else old.tries + 1
        length = min(LONGEST_PARK, FIRST_PARK * 2.0**tries)
        if until is not None:
            length = max(until, min(FIRST_PARK, SHORTEST_PARK * 2.0**tries))
        return _with(_alive(state), account, replace(kept, parked=Parked(kind, reason, Span(now, length), tries)))

    return change


def unparked(account: str) -> Change:
    """Take in that a parked account answers again."""

    def change(state: ModelState) -> ModelState:
        kept = state.account(account)
        return state if kept.parked is None else _with(state, account, replace(kept, parked=None))

    return change


def failed(*, reason: str, now: float, since: float, asked: float | None) -> Change:
    """Take in that the model failed: an overload, an error of the server, a time-out, a cut connection."""

    def change(state: ModelState) -> ModelState:
        old = state.breaker
        if old.span is not None and since < old.span.at + old.span.length:
            return state
        row = old.failures if now - old.last < FAILURE_SPAN or old.span else 0
        if old.span is None and row + 1 < FAILURES:
            return replace(state, breaker=Breaker(row + 1, now, reason=reason))
        length = max(min(LONGEST_OPEN, FIRST_OPEN * 2.0**old.trips), min(asked or 0.0, LONGEST_OPEN))
        return replace(state, breaker=Breaker(row + 1, now, Span(now, length), old.trips + 1, reason))

    return change


def answered(account: str, since: float) -> Change:
    """Take in an answer to a call that was let through at ``since``: the model works, and the account is paid."""

    def change(state: ModelState) -> ModelState:
        span = state.breaker.span
        if span is None or since >= span.at + span.length:
            state = _alive(state)
        kept = state.account(account)
        if kept.parked is not None and since >= kept.parked.span.at + kept.parked.span.length:
            state = _with(state, account, replace(kept, parked=None))
        return state

    return change


def probing(account: str | None, now: float) -> Change:
    """Claim the one call that finds out whether the model (or the parked account) answers again."""

    def change(state: ModelState) -> ModelState:
        span = Span(now, PROBE)
        if account is None:
            return replace(state, breaker=replace(state.breaker, probe=span))
        kept = state.account(account)
        if kept.parked is None:
            return state
        return _with(state, account, replace(kept, parked=replace(kept.parked, probe=span)))

    return change


def unprobed(account: str | None) -> Change:
    """Give that claim back: the call was not made, or said nothing."""

    def change(state: ModelState) -> ModelState:
        if account is None:
            return state if state.breaker.probe is None else replace(state, breaker=replace(state.breaker, probe=None))
        kept = state.account(account)
        if kept.parked is None or kept.parked.probe is None:
            return state
        return _with(state, account, replace(kept, parked=replace(kept.parked, probe=None)))

    return change


def _alive(state: ModelState) -> ModelState:
    return state if state.breaker == Breaker() else replace(state, breaker=Breaker())


def _with(state: ModelState, account: str, kept: AccountState) -> ModelState:
    return replace(state, accounts={**state.accounts, account: kept})


def _limit(told: Told, old: Limit | None) -> Limit:
    """Return the limit that is told, with its rate from the refill where that says more than what is known."""
    used = told.limit - told.remaining - 0.5  # what remains is told in whole units
    if old is not None and abs(old.burst - told.limit) > 0.001 * told.limit:
        old = None  # the provider changed it
    least = max(2.0, _LEAST_USED * told.limit)
    if told.reset is not None and told.reset > 20 * told.grain and used >= max(least, 1.5 * (old.used if old else 0)):
        window = told.limit * told.reset / used
        window = next((usual for usual in (_MINUTE, _DAY) if abs(window / usual - 1) < _USUAL), window)
        return Limit(told.limit / window, told.limit, used)
    return old or Limit(told.limit / _MINUTE, told.limit)
