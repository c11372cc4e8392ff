"""The accounts of a provider: one for each key, each with quotas of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2s

from ezaigent.agents.governor.state import Limit
from ezaigent.agents.providers import key_of
from ezaigent.core.settings import ProviderSettings, Settings

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """One key and what is known of it beforehand."""

    name: str
    """What people see: three bytes of a hash, too few to tell anything about the key."""
    key: str | None = field(repr=False)
    weight: float = 1.0
    known: dict[str, Limit] = field(default_factory=dict[str, Limit])
    """Limits from the settings, by meter."""


def accounts_of(provider: str, settings: Settings) -> tuple[Account, ...]:
    """Return the provider's accounts: its keys by the settings, else its one key."""
    given = settings.providers.get(provider) or ProviderSettings()
    if not given.keys:
        key = key_of(provider, given)
        known = _known(given.requests_per_minute, given.tokens_per_minute)
        return (Account(_name(key), key, known=known),)
    found: dict[str, Account] = {}
    for one in given.keys:
        key = one.api_key.get_secret_value()
        known = _known(
            one.requests_per_minute or given.requests_per_minute, one.tokens_per_minute or given.tokens_per_minute
        )
        found.setdefault(key, Account(_name(key), key, one.weight, known))
    return tuple(found.values())


def _name(key: str | None) -> str:
    return "k-" + blake2s((key or "").encode(), digest_size=3, person=b"ezaigent").hexdigest()


def _known(requests: int | None, tokens: int | None) -> dict[str, Limit]:
    given = {"requests": requests, "tokens": tokens}
    return {meter: Limit(count / _MINUTE, count) for meter, count in given.items() if count}
