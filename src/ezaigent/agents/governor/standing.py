"""Whether a model may be asked now, by which account, and if not, why and for how long: a pure decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ezaigent.agents.governor.state import AccountState, ModelState, Parked
from ezaigent.agents.ports import Blocked
from ezaigent.agents.provider_failure import Kind, ProviderFailure


@dataclass(frozen=True, slots=True)
class Go:
    """These accounts may be used."""

    accounts: tuple[str, ...]
    probe: bool = False
    """Whether the call finds out for the whole fleet if the model, or the parked account, answers again."""
    probed: str | None = None
    """The parked account; None: the model."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A 429 holds the whole fleet."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody may ask."""

    failure: ProviderFailure
    seconds: float
    """Until somebody may find out."""
    final: bool
    """Whether waiting is no answer: nobody knows that it helps."""
    account: str | None = None
    """The parked account of which somebody may find out first; None: it is the model that is left alone."""


def standing(state: ModelState, accounts: Sequence[str], now: float) -> Go | Pause | Closed:
    """Return how the model stands."""
    breaker = state.breaker
    if breaker.span is None:
        return _among(state, accounts, now)
    left = breaker.span.left(now) or (0.0 if breaker.probe is None else min(5.0, breaker.probe.left(now)))
    if left > 0:
        text = f"left alone after {breaker.failures} failures: {breaker.reason}"
        return Closed(ProviderFailure("overload", text, retry_after=left), left, final=False)
    found = _among(state, accounts, now)
    return Go(found.accounts[:1], probe=True) if isinstance(found, Go) else found


def blocked(state: ModelState, accounts: Sequence[str], now: float) -> Blocked | None:
    """Return why the model is parked, with all its accounts; None where it is not."""
    if any(state.account(name).parked is None for name in accounts):
        return None
    found = standing(state, accounts, now)
    name = found.probed if isinstance(found, Go) else found.account if isinstance(found, Closed) else None
    parked = None if name is None else state.account(name).parked
    if parked is None:
        return None
    trial, left = isinstance(found, Go), parked.span.left(now)
    return Blocked(_why(parked), now + left if left > 0 and not trial else None, trial)


def _among(state: ModelState, accounts: Sequence[str], now: float) -> Go | Pause | Closed:
    """Return how the accounts stand, together."""
    usable, pauses, parked = list[str](), list[float](), list[tuple[float, str]]()
    for name in accounts:
        kept = state.account(name)
        pause = 0.0 if kept.slow is None else kept.slow.pause.left(now)
        shut = _parked_left(kept, now)
        if shut > 0:
            parked.append((shut, name))
        elif pause > 0:
            pauses.append(pause)
        elif kept.parked is not None:
            return Go((name,), probe=True, probed=name)
        else:
            usable.append(name)
    if usable:
        return Go(tuple(usable))
    if pauses:
        return Pause(min(pauses), "a 429 pauses the whole fleet")
    left, name = min(parked)
    why = state.account(name).parked
    assert why is not None
    kind: Kind = "billing" if why.kind == "billing" else "quota"
    then = f"asked again in {_spoken(left)}" if why.span.left(now) > 0 else "somebody is asking again"
    return Closed(ProviderFailure(kind, f"{_why(why)}; {then}"), left, final=True, account=name)


def _why(parked: Parked) -> str:
    return f"parked ({parked.kind}): {parked.reason}"


def _parked_left(kept: AccountState, now: float) -> float:
    parked = kept.parked
    if parked is None:
        return 0.0
    return parked.span.left(now) or (0.0 if parked.probe is None else parked.probe.left(now))


def _spoken(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004 - two minutes read better in seconds
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - and two hours in minutes
