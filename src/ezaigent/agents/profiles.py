"""Kinds of agents: the built-in ones, changed and added to field by field from the settings.

The model names were current in November 2026: each provider's workhorse for agentic coding, then a cheaper or older
one of the same provider for when the first is overloaded, then one of another provider for when all of that
provider is down or unpaid. A fallback whose key is missing is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from ezaigent.core.errors import UsageError
from ezaigent.core.settings import ProfileSettings, Settings
from ezaigent.costs import NATIVE

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of agent."""

    name: str
    model: str
    """``provider:name``; empty where no model is behind it."""
    fallbacks: tuple[str, ...] = ()
    """Models to go on with, in order."""
    specialties: tuple[str, ...] = ()
    """What it is good at: shown, and told to the model."""
    instructions: str = ""
    """Added to the agent's instructions."""
    max_steps: int = 200
    """Steps (model requests and tool calls) before a run is stopped as stuck."""
    max_tokens: int = 16_384
    """Output tokens that one model call may produce, reasoning included."""
    context_window: int | None = None
    """Tokens that the model can hold; None: what the price table says."""
    temperature: float | None = None
    """Sampling temperature; None: the provider's. Some models refuse any other."""
    offline: bool = False
    """Whether a fixed policy stands in for a model: no network, no tokens, no cost."""
    general: bool = True
    """Whether its agents also take tasks that name no profile."""

    @property
    def provider(self) -> str:
        """The provider's name; empty where no model is behind it."""
        return self.model.partition(":")[0]


BUILT_IN: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile(
            name="claude",
            model="anthropic:claude-opus-5-5",
            fallbacks=("anthropic:claude-sonnet-5-5", "openai:gpt-6.1-sol"),
            specialties=("architecture", "refactoring"),
        ),
        Profile(
            name="gpt",
            model="openai:gpt-6.1-sol",
            fallbacks=("openai:gpt-6.1-terra", "anthropic:claude-sonnet-5-5"),
            specialties=("backend logic",),
        ),
        Profile(
            name="deepseek",
            model="deepseek:deepseek-v4-pro",
            fallbacks=("deepseek:deepseek-flash", "mistral:mistral-large-4"),
            specialties=("testing", "validation"),
        ),
        Profile(
            name="mistral",
            model="mistral:mistral-large-4",
            fallbacks=("mistral:mistral-medium-latest", "google:gemini-3.8-flash"),
            specialties=("documentation",),
        ),
        Profile(
            name="gemini",
            model="google:gemini-4-argon",
            fallbacks=("google:gemini-3.8-flash", "openai:gpt-6.1-terra"),
            specialties=("analysis", "mobile"),
        ),
        Profile(
            name="mechanic",
            model="",
            specialties=("maintenance recipes without a model",),
            offline=True,
            general=False,
        ),
    )
}
"""The profiles that exist without any setting, by name."""


def load_profiles(settings: Settings) -> dict[str, Profile]:
    """Return all profiles by name: the built-in ones with the fields that the settings change, then the new ones.

    Raises ``UsageError`` with one line for the first wrong entry.
    """
    profiles = dict(BUILT_IN)
    for name, given in settings.profiles.items():
        profiles[name] = _merged(name, given, settings)
    return profiles


def _merged(name: str, given: ProfileSettings, settings: Settings) -> Profile:
    if not _NAME.fullmatch(name):
        raise UsageError(f"profile name {name!r} is wrong; use up to 32 lower-case letters, digits and dashes")
    changes: dict[str, Any] = given.model_dump(exclude_none=True)
    for field in ("fallbacks", "specialties"):
        if field in changes:
            changes[field] = tuple(changes[field])
    base = BUILT_IN.get(name)
    if base is None:
        base = Profile(name=name, model="")
    elif base.offline:
        return _merged_offline(base, changes)
    elif "model" in changes and "fallbacks" not in changes:
        # Another model is a decision about where the code may go; the built-in fallbacks would overrule it.
        changes["fallbacks"] = ()
    profile = replace(base, **changes)
    if not profile.model:
        raise UsageError(f'profile {name!r} names no model; set model = "provider:name" in [profiles.{name}]')
    for model in (profile.model, *profile.fallbacks):
        _check_model(name, model, settings)
    return profile


def _merged_offline(base: Profile, changes: dict[str, Any]) -> Profile:
    wrong = sorted(changes.keys() - {"instructions", "max_steps", "specialties"})
    if wrong:
        raise UsageError(
            f"profile {base.name!r} has no model behind it; remove {wrong[0]!r} from [profiles.{base.name}]"
        )
    return replace(base, **changes)


def _check_model(profile: str, model: str, settings: Settings) -> None:
    provider, colon, name = model.partition(":")
    if not (provider and colon and name):
        raise UsageError(f'profile {profile!r} has model {model!r}; write it as "provider:name"')
    if provider not in NATIVE:
        known = settings.providers.get(provider)
        if known is None or not known.base_url:
            names = ", ".join(sorted(NATIVE))
            raise UsageError(
                f"profile {profile!r} uses provider {provider!r}, which is none of {names}; "
                f"set base_url in [providers.{provider}] to reach a compatible server"
            )
