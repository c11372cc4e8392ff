"""What must never be logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezaigent.core.errors import UsageError
from ezaigent.core.telemetry import Scrubber
from ezaigent.wiring import load_settings
from ezaigent.wiring.secrets import secrets_in


def test_every_secret_of_the_settings_is_blotted_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "from-the-environment")
    settings = load_settings(
        home=tmp_path,
        database_url="postgresql://me:pass%2Fword@db/x",
        redis_url="rediss://:redis-word@cache/0",
        providers={
            "openai": {"keys": [{"api_key": "first-of-many"}, {"api_key": "second-of-many"}]},
            "anthropic": {"api_key": "only-one", "base_url": "https://gate:gate-word@proxy/v1"},
        },
        launcher={
            "kubernetes_token": "of-the-cluster",
            "environment": {"MY_TOKEN": "for-the-container", "EZAIGENT_LOG_LEVEL": "warning"},
        },
    )
    scrub = Scrubber(secrets_in(settings))
    for secret in (
        "from-the-environment",
        "pass%2Fword",
        "pass/word",
        "redis-word",
        "first-of-many",
        "second-of-many",
        "only-one",
        "gate-word",
        "of-the-cluster",
        "for-the-container",
    ):
        assert secret not in scrub.text(f"it was {secret} all along"), secret
    assert scrub.text("a warning") == "a warning", "a plain word of the container's settings is none"


def test_an_address_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, redis_url="redis://:s3cret@[broken/0")
    with pytest.raises(UsageError, match="percent-encode its password") as refused:
        secrets_in(settings)
    assert "s3cret" not in str(refused.value)
