from __future__ import annotations

import pytest
import structlog

from ezaigent.core.telemetry import BLOT, Scrubber, configure_logging


def test_a_known_secret_is_blotted_out_wherever_it_hides() -> None:
    scrub = Scrubber(["sk-very-secret"])
    event = scrub(None, "info", {"event": "called with sk-very-secret", "nested": {"list": ["x sk-very-secret y"]}})
    assert event == {"event": f"called with {BLOT}", "nested": {"list": [f"x {BLOT} y"]}}


def test_credentials_in_urls_and_fields_named_like_secrets_are_blotted_out() -> None:
    scrub = Scrubber()
    event = scrub(None, "info", {"event": "fetch", "url": "https://me:pw@host/x", "api_key": "abc", "count": 3})
    assert event == {"event": "fetch", "url": f"https://{BLOT}@host/x", "api_key": BLOT, "count": 3}


def test_short_values_are_not_taken_for_secrets() -> None:
    assert Scrubber(["1", "none"]).text("none of 1") == "none of 1"


def test_a_traceback_in_the_log_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", ["sk-very-secret"])
    try:
        int("the key sk-very-secret was refused")
    except ValueError:
        structlog.get_logger().exception("a call failed")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "a call failed" in said
    assert "ValueError" in said
    assert "sk-very-secret" not in said
