"""``ezaigent scaler``: what it shows, changes and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.terminal import Terminal
from tests.services import until

from ezaigent.cli.chart import chart, fit

FIX = "Remove unused imports in shop/prices.py"


def test_settings_are_changed_together_or_not_at_all(ezaigent: Terminal) -> None:
    shown = ezaigent("scaler", "config").out
    assert "late_share" in shown
    assert "0.04" in shown
    changed = ezaigent("scaler", "config", "max=20", "keep=1.5", "--json").json
    assert (changed["changed"], changed["settings"]["max"]) == ({"max": 20, "keep": 1.5}, 20)
    refused = ezaigent("scaler", "config", "cooldown=10", "max=0", "nonsense=1")
    assert refused.code == 2
    assert "nonsense: there is no such setting" in refused.err
    own = ezaigent("scaler", "config", "min=2", "--pool", "mechanic", "--json").json
    assert own["changed"] == {"max": 20, "keep": 1.5, "pools": {"mechanic": {"min": 2}}}
    assert own["settings"]["min"] == 2
    shown = ezaigent("scaler", "config", "keep=")
    assert "pools with settings of their own: mechanic" in shown.err
    assert ezaigent("scaler", "config", "--pool", "mechanic").out.count("changed at run time") == 1
    for words, text in ((("max",), "'max' is no change; write KEY=VALUE"), (("min=1", "--pool", "x"), "no pool 'x'")):
        refused = ezaigent("scaler", "config", *words)
        assert (refused.code, text in refused.err) == (2, True)


def test_without_anybody_there(ezaigent: Terminal) -> None:
    view = ezaigent("scaler", "status", "--json").json
    assert (view["state"], view["leader"], [pool["pool"] for pool in view["pools"]]) == (
        "no leader",
        None,
        ["mechanic"],
    )
    assert "nobody leads; start ezaigent up" in ezaigent("scaler", "status").out
    assert "no decision changed anything yet" in ezaigent("scaler", "history").err
    assert ezaigent("scaler", "history", "--json").json == {"items": []}
    refused = ezaigent("scaler", "replay")
    assert (refused.code, "worked no task in the last 24 h" in refused.err) == (2, True)
    assert ezaigent("scaler", "stop", "--json").json == {"stopped": True, "changed": True}
    assert "was stopped before" in ezaigent("scaler", "stop").out
    assert ezaigent("scaler", "status", "--json").json["state"] == "stopped"
    assert "goes on" in ezaigent("scaler", "start").out


async def test_up_is_seen_and_steered_from_another_terminal(ezaigent: Terminal) -> None:
    with ezaigent.running("up", "--json"):
        seen = ezaigent("scaler", "status").out
        assert "running, led by" in seen
        assert "held by min = 1" in seen
        ezaigent("scaler", "config", "min=3")
        await until(lambda: ezaigent("scaler", "status", "--json").json["pools"][0]["idle"] == 3, within=60)
        (last, first) = ezaigent("scaler", "history", "--json").json["items"]
        assert (first["before"], first["target"], last["target"]) == (0, 1, 3)
        assert "1 → 3" in ezaigent("scaler", "history", "--pool", "mechanic").out


@pytest.mark.sandbox
async def test_an_empty_pool_gets_its_agent_when_a_task_comes(tmp_path: Path, repo: Path) -> None:
    ezaigent = Terminal(tmp_path / "home", EZAIGENT_SCALING__MIN="0")
    with ezaigent.running("up", "--json"):
        # The first one is there until its start has shown how quick starts are.
        await until(lambda: ezaigent("agents", "list", "--json").json["items"] == [])
        done = ezaigent("submit", FIX, "--repo", str(repo), "--wait", "--json").json
        assert (done["state"], done["agent"]) == ("review", "mechanic-1")
        runs = ezaigent("scaler", "history", "--json").json["items"]
        assert runs[-1]["target"] == 1, "the one that is up did it"


def test_a_replay_compares_policies_over_a_trace(ezaigent: Terminal, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival,service\n" + "".join(f"{second},30\n" for second in range(60)), encoding="utf-8")
    words = ("scaler", "replay", "--trace", str(trace), "--startup", "2", "--set", "max=40")
    made = ezaigent(*words, "--policy", "slo", "--policy", "threshold", "--json").json
    slo, threshold = made["items"]
    assert (slo["policy"], threshold["policy"], made["startup"]) == ("slo", "threshold", 2.0)
    assert slo["wait_p95"] < threshold["wait_p95"]
    drawn = ezaigent(*words)
    assert "60 tasks of trace.csv" in drawn.err
    assert "slo agents over" in drawn.out
    assert "█" in drawn.out
    refused = ezaigent("scaler", "replay", "--trace", str(tmp_path / "none.csv"))
    assert (refused.code, "cannot be read" in refused.err) == (2, True)


def test_a_chart() -> None:
    assert chart([0, 1, 2, 4], width=10, height=2) == ["4 ┤   █", "0 ┤ ▄██"]
    assert chart([], width=10, height=1) == ["1 ┤"]
    assert fit([1, 9, 2, 3], 2) == [9, 3]


@given(st.lists(st.floats(0, 1e6), max_size=300), st.integers(1, 80), st.integers(1, 8))
def test_a_chart_fits_and_shows_its_peak(values: list[float], width: int, height: int) -> None:
    lines = chart(values, width=width, height=height)
    assert len(lines) == height
    assert all(len(line.partition("┤")[2]) <= width for line in lines)
    if values and max(values) >= 1:
        assert "█" in lines[0]


@pytest.mark.parametrize("text", ["=3", "  =3"])
def test_a_change_without_a_name_is_none(ezaigent: Terminal, text: str) -> None:
    assert "is no change" in ezaigent("scaler", "config", text).err
