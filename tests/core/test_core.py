from __future__ import annotations

import os
import signal
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezaigent.core.change import Change, CheckResult
from ezaigent.core.ids import new_id
from ezaigent.core.logins import without_login
from ezaigent.core.money import format_usd, nano_usd, usd


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert all(len(one) == 16 and one.isalnum() and one == one.lower() for one in ids)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:secret@host/shop.git", "https://host/shop.git"),
        ("https://token@host:8443/shop", "https://host:8443/shop"),
        ("https://ada:p@ss@host/shop", "https://host/shop"),
        ("clone https://a:b@one/x and ssh://git@two/y", "clone https://one/x and ssh://two/y"),
        ("git@host:shop.git", "git@host:shop.git"),
        ("https://host/a@b and /srv/shop@2", "https://host/a@b and /srv/shop@2"),
    ],
)
def test_a_login_is_left_out_of_urls_and_nothing_else(text: str, shown: str) -> None:
    assert without_login(text) == shown


@given(st.decimals(min_value=0, max_value=10**6, places=12))
def test_an_amount_is_never_rounded_down(amount: Decimal) -> None:
    nano = nano_usd(amount)
    assert Decimal(nano) >= amount * 10**9
    assert Decimal(nano) - amount * 10**9 < 1


@pytest.mark.parametrize(
    ("nano", "text"),
    [(None, "unknown"), (0, "$0.00"), (4_200_000, "$0.00420"), (1_200_000_000, "$1.20"), (300_000_000, "$0.300")],
)
def test_amounts_are_written_for_people(nano: int | None, text: str) -> None:
    assert format_usd(nano) == text


def test_unknown_stays_unknown_and_infinite_is_refused() -> None:
    assert usd(None) is None
    assert usd(1_500_000_000) == 1.5
    with pytest.raises(ValueError, match="finite"):
        nano_usd(float("inf"))


def test_a_change_is_good_only_when_every_check_passed_on_its_very_tree() -> None:
    passed = CheckResult(command="true", ok=True, exit_code=0, tree="t1")
    change = Change(branch="b", commit="c", tree="t1", base="a")
    assert change.with_checks((passed,)).ok
    assert not change.with_checks((passed.model_copy(update={"tree": "t0"}),)).ok
    assert not change.with_checks((passed.model_copy(update={"ok": False}),)).ok


def _reach(failpoints: str, code: str) -> int:
    env = {**os.environ, "EZAIGENT_FAILPOINTS": failpoints}
    return subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=30).returncode


def test_a_failpoint_kills_the_process_at_its_place_and_only_there() -> None:
    code = "from ezaigent.core.failpoints import reach\nfor _ in range(3): reach('a')\nreach('b')\nraise SystemExit(7)"
    assert _reach("a=kill@2", code) == -signal.SIGKILL
    assert _reach("a=kill@4", code) == 7
    assert _reach("", code) == 7
