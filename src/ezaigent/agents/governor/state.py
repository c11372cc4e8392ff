"""What the fleet knows of one model at one provider. All times are seconds by the live bus's clock.

Every span is kept as its beginning and its length, and never counts for more than the length: a clock that jumps may
cut a pause short, and cannot make it longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import TypeAdapter, ValidationError

METERS: Final = ("requests", "tokens", "input_tokens", "output_tokens")
"""What providers count."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time from ``at`` for ``length`` seconds."""

    at: float
    length: float

    def left(self, now: float) -> float:
        """Return the seconds until its end; 0 after it."""
        return max(0.0, min(self.length, self.at + self.length - now))

    def past(self, now: float) -> float:
        """Return the seconds since its end; 0 before it."""
        return max(0.0, now - self.at - self.length)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a provider allows of one meter."""

    rate: float
    """Units a second."""
    burst: float
    """Units at once."""
    used: float = 0.0
    """Units by which the rate was told from the time of its refill; more units, a better figure. 0: not told."""


@dataclass(frozen=True, slots=True)
class Slow:
    """What is left of the last 429."""

    pause: Span
    rate: float
    """Requests a second right after the pause."""
    trust: float
    """Share of the burst that is believed in."""
    strikes: int
    """429s in a row, none of which found calls going well."""
    total: float | None
    """Requests drawn from the account's bucket until then."""
    sure: bool = False
    """Whether the rate was measured over a time long enough to rely on."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A quota or a purse is empty."""

    kind: str
    """quota, billing or auth."""
    reason: str
    """What the provider said, one line."""
    span: Span
    """Nobody asks before its end; then one call in the fleet does."""
    tries: int = 0
    """Calls since then that found it still so."""
    probe: Span | None = None
    """A call that finds out is under way."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """Failures of the model, whichever the account."""

    failures: int = 0
    """In a row, over the whole fleet."""
    last: float = 0.0
    span: Span | None = None
    """Nobody asks before its end; then one call in the fleet does."""
    trips: int = 0
    """Times in a row that it was left alone."""
    reason: str = ""
    probe: Span | None = None


@dataclass(frozen=True, slots=True)
class AccountState:
    """What is known of one account."""

    limits: dict[str, Limit] = field(default_factory=dict[str, Limit])
    """Limits that the provider told, by meter."""
    slow: Slow | None = None
    parked: Parked | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is known of one model."""

    accounts: dict[str, AccountState] = field(default_factory=dict[str, AccountState])
    breaker: Breaker = Breaker()

    def account(self, name: str) -> AccountState:
        """Return what is known of an account; nothing, at first."""
        return self.accounts.get(name) or AccountState()


_JSON: Final = TypeAdapter(ModelState)


def dump(state: ModelState) -> bytes:
    """Return the state as it goes over the bus."""
    return _JSON.dump_json(state, exclude_defaults=True)


def load(text: bytes) -> ModelState:
    """Read a state; what another version wrote in another shape counts as nothing known."""
    try:
        return _JSON.validate_json(text) if text else ModelState()
    except ValidationError:
        return ModelState()
