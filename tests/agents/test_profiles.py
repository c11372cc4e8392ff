"""Profiles come from the built-in table and the settings, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ezaigent.agents.profiles import BUILT_IN, load_profiles
from ezaigent.core.errors import UsageError
from ezaigent.core.settings import Settings
from ezaigent.costs import worst_case


def settings(**fields: Any) -> Settings:
    return Settings.model_validate({"home": Path("/nowhere"), **fields})


def test_five_models_and_the_mechanic_are_built_in() -> None:
    profiles = load_profiles(settings())
    assert list(profiles) == ["claude", "gpt", "deepseek", "mistral", "gemini", "mechanic"]
    assert profiles["mechanic"].offline
    assert profiles["mechanic"].model == ""
    assert profiles["mechanic"].provider == ""
    assert not profiles["mechanic"].general
    assert profiles["claude"].provider == "anthropic"


@pytest.mark.parametrize("name", [name for name, profile in BUILT_IN.items() if not profile.offline])
def test_every_built_in_model_and_fallback_has_a_known_price(name: str) -> None:
    profile = BUILT_IN[name]
    for model in (profile.model, *profile.fallbacks):
        provider, _, short = model.partition(":")
        assert worst_case(provider=provider, model=short, input_tokens=1000, output_tokens=1000), model


def test_a_setting_changes_one_field_and_keeps_the_rest() -> None:
    changed = load_profiles(settings(profiles={"gpt": {"max_steps": 7, "specialties": ["sql"]}}))["gpt"]
    assert (changed.max_steps, changed.specialties) == (7, ("sql",))
    assert (changed.model, changed.fallbacks) == (BUILT_IN["gpt"].model, BUILT_IN["gpt"].fallbacks)


def test_another_model_drops_the_built_in_fallbacks() -> None:
    changed = load_profiles(settings(profiles={"claude": {"model": "openai:gpt-6-luna"}}))["claude"]
    assert (changed.model, changed.fallbacks) == ("openai:gpt-6-luna", ())


def test_a_new_profile_on_an_own_server() -> None:
    given = settings(
        providers={"ollama": {"base_url": "http://localhost:11434/v1"}},
        profiles={"local": {"model": "ollama:qwen3-coder", "context_window": 32_768}},
    )
    local = load_profiles(given)["local"]
    assert (local.provider, local.general, local.context_window) == ("ollama", True, 32_768)


def test_the_mechanic_may_be_instructed() -> None:
    changed = load_profiles(settings(profiles={"mechanic": {"max_steps": 9}}))["mechanic"]
    assert (changed.max_steps, changed.offline) == (9, True)


@pytest.mark.parametrize(
    ("profiles", "words"),
    [
        ({"Big Name": {"model": "openai:x"}}, "profile name 'Big Name'"),
        ({"mine": {"max_steps": 3}}, "names no model"),
        ({"mine": {"model": "gpt"}}, "provider:name"),
        ({"mine": {"model": ":gpt"}}, "provider:name"),
        ({"mine": {"model": "vllm:gpt"}}, "set base_url in [providers.vllm]"),
        ({"gpt": {"fallbacks": ["nope"]}}, "provider:name"),
        ({"mechanic": {"model": "openai:gpt-6-luna"}}, "no model behind it"),
    ],
)
def test_a_wrong_entry_is_one_clear_line(profiles: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profiles(settings(profiles=profiles))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
