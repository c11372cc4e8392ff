"""Prices are exact, and unknown where the table is silent."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic_ai.usage import RequestUsage

from ezaigent.costs import context_window, dearest_rates, price_call, private_host, table_date, worst_case

NOVEMBER = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_price_is_exact_to_the_nano_dollar() -> None:
    usage = RequestUsage(
        input_tokens=1_000,
        cache_read_tokens=500,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        output_tokens=51,
        output_reasoning_tokens=40,
    )
    price = price_call(usage, provider="anthropic", model="claude-opus-5-5")
    assert price is not None
    # 200 plain at 4, 500 read at 0.2, 200 written for 5 minutes at 5, 100 for an hour at 8, 51 out at 20 USD a million
    assert price.nusd == 200 * 4_000 + 500 * 200 + 200 * 5_000 + 100 * 8_000 + 51 * 20_000
    assert price.table_date >= "2026-11-09"


@pytest.mark.parametrize(
    ("provider", "model", "base_url"),
    [
        ("openai", "gpt-99-unheard-of", None),
        ("ollama", "gpt-oss-20b", "http://localhost:11434/v1"),
        ("my-anthropic-proxy", "claude-opus-5-5", "https://proxy.example.com"),
        ("groq", "llama-3.3-70b-versatile", "http://10.1.2.3:8000/v1"),
    ],
)
def test_an_unknown_price_is_none(provider: str, model: str, base_url: str | None) -> None:
    usage = RequestUsage(input_tokens=10, output_tokens=10)
    assert price_call(usage, provider=provider, model=model, base_url=base_url) is None
    assert worst_case(provider=provider, model=model, base_url=base_url, input_tokens=9, output_tokens=9) is None
    assert dearest_rates(provider=provider, model=model, base_url=base_url, input_tokens=9) is None


def test_a_provider_that_the_table_names_is_priced_at_its_public_address() -> None:
    usage = RequestUsage(input_tokens=1_000_000, output_tokens=0)
    public = "https://openrouter.ai/api/v1"
    assert price_call(usage, provider="openrouter", model="openai/gpt-6.1-sol", base_url=public) is not None


def test_counts_that_contradict_each_other_have_no_price() -> None:
    usage = RequestUsage(input_tokens=10, cache_read_tokens=500, output_tokens=1)
    assert price_call(usage, provider="anthropic", model="claude-opus-5-5") is None


def test_the_dearest_rate_counts_cache_writes_tiers_and_the_hours_to_come() -> None:
    short = dearest_rates(provider="openai", model="gpt-6.1-sol", input_tokens=272_000, now=NOVEMBER)
    assert short == (Decimal("2.5"), Decimal(10))
    long = dearest_rates(provider="openai", model="gpt-6.1-sol", input_tokens=272_001, now=NOVEMBER)
    assert long == (Decimal(5), Decimal(15))
    # DeepSeek's peak begins at 06:00 UTC: a call reserved shortly before may be billed within it.
    quiet = dearest_rates(
        provider="deepseek", model="deepseek-v4-pro", input_tokens=9, now=NOVEMBER.replace(hour=4, minute=50)
    )
    before_peak = dearest_rates(
        provider="deepseek", model="deepseek-v4-pro", input_tokens=9, now=NOVEMBER.replace(hour=5, minute=50)
    )
    assert quiet is not None
    assert before_peak is not None
    assert before_peak.output_mtok == 2 * quiet.output_mtok


def test_media_may_be_dearer_than_text() -> None:
    text = dearest_rates(provider="google", model="gemini-2.5-flash", input_tokens=9)
    media = dearest_rates(provider="google", model="gemini-2.5-flash", input_tokens=9, media=True)
    assert text is not None
    assert media is not None
    assert media.input_mtok > text.input_mtok


def test_the_worst_case_is_dearest_input_plus_all_output() -> None:
    worst = worst_case(provider="anthropic", model="claude-opus-5-5", input_tokens=1_000, output_tokens=2_000)
    assert worst == 1_000 * 5_000 + 2_000 * 20_000


def test_windows_come_from_the_table() -> None:
    assert context_window(provider="anthropic", model="claude-opus-5-5") == 1_000_000
    assert context_window(provider="ollama", model="qwen3") is None


def test_the_tables_date_is_its_newest_change_in_force() -> None:
    assert table_date(NOVEMBER) == "2026-11-09"
    assert table_date(datetime(2020, 1, 1, tzinfo=UTC)) < "2020-01-02"


@pytest.mark.parametrize(
    ("url", "private"),
    [
        (None, False),
        ("", False),
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1:1/", True),
        ("http://[::1]:8000/v1", True),
        ("http://192.168.1.9:8000/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://gpu.lan/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_private_hosts(url: str | None, private: bool) -> None:  # noqa: FBT001
    assert private_host(url) is private
