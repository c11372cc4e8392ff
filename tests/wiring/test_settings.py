from __future__ import annotations

from pathlib import Path

import pytest

from ezaigent.core.errors import UsageError
from ezaigent.wiring import load_settings


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("EZAIGENT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ezaigent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_wins_over_the_environment_which_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, 'home = "/from-file"\n[queue]\nlease = 11\nmax_attempts = 7\nbackoff = 1\n')
    monkeypatch.setenv("EZAIGENT_QUEUE__LEASE", "12")
    monkeypatch.setenv("EZAIGENT_QUEUE__BACKOFF", "3")
    settings = load_settings(home=tmp_path / "given", queue={"backoff": 4})
    assert settings.home == tmp_path / "given"
    assert (settings.queue.lease, settings.queue.max_attempts, settings.queue.backoff) == (12, 7, 4)


def test_a_provider_can_be_set_by_variable_and_by_file_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, "[providers.openai]\ntimeout = 5\n")
    monkeypatch.setenv("EZAIGENT_PROVIDERS__OPENAI__BASE_URL", "http://localhost:1/v1")
    provider = load_settings().providers["openai"]
    assert (provider.base_url, provider.timeout) == ("http://localhost:1/v1", 5)


def test_the_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[queue]\nlease = 44\n", encoding="utf-8")
    assert load_settings(other).queue.lease == 44
    monkeypatch.setenv("EZAIGENT_CONFIG", str(other))
    assert load_settings().queue.lease == 44


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[queue]\nmax_attempt = 7\n", "unknown setting 'queue.max_attempt'"),
        ("[queue]\nlease = 1\n", "setting 'queue.lease' is wrong"),
        ('[sandbox]\nlevel = "none"\n', "'sandbox.level'"),
        ("[queue\n", "not valid TOML"),
        ("[fleet.pools]\nclaude = -1\n", "'fleet.pools.claude'"),
    ],
)
def test_a_wrong_file_is_refused_with_one_line_that_names_the_place(tmp_path: Path, text: str, told: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_variable_is_named_and_a_secret_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZAIGENT_QUEUE__LEASE", "soon")
    with pytest.raises(UsageError, match=r"EZAIGENT_QUEUE__LEASE.*'soon'"):
        load_settings()
    monkeypatch.delenv("EZAIGENT_QUEUE__LEASE")
    _file(tmp_path, "[providers.openai]\napi_key = {secret = 'sk-hidden'}\n")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert "sk-hidden" not in str(caught.value)


def test_an_empty_variable_counts_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("HOME", "CONFIG", "DATABASE_URL", "REDIS_URL", "QUEUE__LEASE", "GITHUB__SECRET"):
        monkeypatch.setenv(f"EZAIGENT_{name}", "")
    settings = load_settings()
    assert settings.home == tmp_path / "data" / "ezaigent"
    assert (settings.database_url, settings.redis_url, settings.github.secret) == (None, None, None)
    assert settings.queue.lease == 30
    _file(tmp_path, 'home = "/from-file"\n[queue]\nlease = 11\n')
    assert (load_settings().home, load_settings().queue.lease) == (Path("/from-file"), 11)


def test_a_missing_or_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no settings file"):
        load_settings(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path / "binary.toml")


def test_keys_do_not_show_in_the_settings(tmp_path: Path) -> None:
    _file(tmp_path, 'database_url = "postgresql://u:pw@h/d"\n[providers.openai]\napi_key = "sk-hidden"\n')
    shown = repr(load_settings()) + str(load_settings().model_dump())
    assert "sk-hidden" not in shown
    assert "pw@" not in shown
