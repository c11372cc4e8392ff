"""Which pools the autoscaler sizes, and what it must know of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ezaigent.agents import Profile, keys_present
from ezaigent.core.settings import Settings


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What does not change about a pool while the fleet runs."""

    general: bool
    """Whether its agents take tasks that name no profile."""
    models: tuple[str, ...] = ()
    """Models that its agents can ask, ``provider:name``, as far as this process knows their keys; none if offline."""
    paid: bool = True


@dataclass(frozen=True, slots=True)
class Catalog:
    """The pools that the fleet may have agents in."""

    pools: Mapping[str, PoolFacts]
    accounts: Mapping[str, int]
    """Keys by provider, where there are several."""

    @classmethod
    def of(cls, names: Sequence[str], profiles: Mapping[str, Profile], settings: Settings) -> Self:
        """Return the catalog of these profiles; where none of them is general, all of them are."""
        keys = keys_present(settings)
        general = {name for name in names if profiles[name].general} or set(names)
        return cls(
            {
                name: PoolFacts(
                    general=name in general,
                    models=_models(profiles[name], keys),
                    paid=not profiles[name].offline,
                )
                for name in names
            },
            {name: len(given.keys) for name, given in settings.providers.items() if given.keys},
        )


def _models(profile: Profile, keys: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the profile's models without the fallbacks whose key is missing, which its agents pass over.

    Where the key of its own model is not known here, the keys are elsewhere, and all of them count.
    """
    if profile.offline:
        return ()
    elsewhere = not keys.get(profile.provider, True)
    left = (model for model in profile.fallbacks if elsewhere or keys.get(model.partition(":")[0], True))
    return (profile.model, *left)
