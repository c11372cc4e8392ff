"""The guards: provider, errors, starts, budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fleet.scaling.pools import NOW, look, pool, settings

from ezaigent.fleet.scaling import Ceilings, Finish, Orders, PoolSnapshot, PoolState, ScalingSettings, Spending

CONFIG = settings(max=50)
HOUR = NOW - NOW % 3600 + 1800
"""The middle of an hour."""


def run(snapshots: list[tuple[float, PoolSnapshot]], config: ScalingSettings = CONFIG) -> tuple[list[int], PoolState]:
    """Targets of some looks, one after another."""
    state = PoolState()
    targets: list[int] = []
    for at, snapshot in snapshots:
        decision, state = look(snapshot, config, state, at)
        targets.append(decision.target)
    return targets, state


def test_a_provider_that_limits_stops_growth_and_shrinks_the_ceiling() -> None:
    bad = pool(queued=30, busy=10, idle=[1] * 10, limited_share=0.5)
    decision, state = look(bad, CONFIG)
    assert decision.binding == "provider"
    assert decision.orders.start == 0
    assert state.provider == 14.0
    assert decision.target == 14
    _, state = look(bad, CONFIG, state, NOW + 10)
    assert state.provider == 14.0, "not more often than every 30 s"
    _, state = look(bad, CONFIG, state, NOW + 30)
    assert state.provider == pytest.approx(9.8)
    decision, state = look(bad, CONFIG, state, NOW + 60)
    assert state.provider == pytest.approx(6.86), "but not below the calls that get through, which are 5"
    assert (decision.target, decision.orders.drain) == (10, ()), "busy agents go on"


def test_the_ceiling_rises_step_by_step_until_it_is_gone() -> None:
    _, state = look(pool(queued=30, busy=10, limited_share=0.2), CONFIG)
    assert state.provider == 8.0, "what gets through is more than the decrease would leave"
    for step in range(1, 43):
        decision, state = look(pool(queued=80, busy=8), CONFIG, state, NOW + 30 * step)
        assert decision.target == min(8 + step, 50)
    assert state.provider is None


def test_a_quota_that_runs_out_counts_like_429s() -> None:
    decision, _ = look(pool(queued=30, busy=3, quota_left=0.05), CONFIG)
    assert (decision.binding, decision.orders.start) == ("provider", 0)
    fine, _ = look(pool(queued=30, busy=3, quota_left=0.5, ceilings=Ceilings(provider=6)), CONFIG)
    assert (fine.binding, fine.target) == ("provider", 6)


def test_the_provider_never_takes_the_last_agent() -> None:
    targets, _ = run([(NOW + 30 * step, pool(queued=9, idle=[1], limited_share=1.0)) for step in range(20)])
    assert set(targets) == {1}


FAILED = tuple(Finish(NOW, 60.0, failed=True) for _ in range(8))


def test_failures_hold_growth_and_one_canary_is_tried_at_a_time() -> None:
    def failing(busy: int, *, finishes: tuple[Finish, ...] = ()) -> PoolSnapshot:
        return pool(queued=30, busy=busy, finishes=finishes)

    decision, state = look(failing(4, finishes=FAILED), CONFIG)
    assert (decision.delta, decision.binding) == (0, "errors")
    assert "of runs fail" in decision.reason
    decision, state = look(failing(4), CONFIG, state, NOW + 59)
    assert decision.delta == 0
    decision, state = look(failing(4), CONFIG, state, NOW + 60)
    assert decision.delta == 1
    decision, state = look(failing(5), CONFIG, state, NOW + 120)
    assert decision.delta == 0, "the next one waits twice as long"
    decision, state = look(failing(5), CONFIG, state, NOW + 180)
    assert decision.delta == 1
    well = tuple(Finish(NOW, 60.0) for _ in range(40))
    decision, state = look(failing(6, finishes=well), CONFIG, state, NOW + 200)
    assert not state.guarding
    assert decision.delta > 1


def test_provider_limits_are_not_errors() -> None:
    limited = tuple(replace(run, limited=True) for run in FAILED)
    decision, state = look(pool(queued=30, busy=4, finishes=limited), CONFIG)
    assert not state.guarding
    assert decision.delta > 1


def test_min_is_put_back_while_runs_fail() -> None:
    decision, _ = look(pool(finishes=FAILED), settings(min=3))
    assert decision.orders == Orders(start=3)


def test_failed_starts_back_off_until_one_succeeds() -> None:
    config = settings(min=2)
    decision, state = look(pool(failed_starts=1), config)
    assert (decision.delta, decision.binding) == (0, "starts")
    assert decision.reason.endswith("0 agents stay, held by failed starts (the next try is in 5 s)")
    decision, state = look(pool(), config, state, NOW + 5)
    assert decision.delta == 2
    decision, state = look(pool(failed_starts=2), config, state, NOW + 6)
    assert state.start_after == NOW + 16
    for number in range(12):
        _, state = look(pool(failed_starts=1), config, state, NOW + 20 + number)
    assert state.start_after == NOW + 31 + 300, "never longer than 5 min"
    decision, state = look(pool(idle=[1], startups=(20.0,)), config, state, NOW + 40)
    assert (decision.delta, state.start_failures) == (1, 0)


def spent(**spending: float) -> PoolSnapshot:
    return pool(queued=30, busy=4, idle=[1], at=HOUR, spending=Spending(**spending))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "spending", "target"),
    [
        ({"hour_agent_seconds": 7200}, {"hour_agent_seconds": 6000}, 20),  # 1,200 s left over 60 s
        ({"day_agent_seconds": 7200}, {"day_agent_seconds": 6900}, 5),
        ({"hour_usd": 10}, {"hour_nano_usd": 9_400_000_000, "hour_agent_seconds": 9400}, 10),  # 0.6 USD at 0.001/s
        ({"day_usd": 10}, {"day_nano_usd": 9_990_000_000, "day_agent_seconds": 9990}, 4),  # busy ones go on
        ({"hour_usd": 10}, {}, 34),  # nothing is known of the price yet
    ],
)
def test_budgets_land_softly(config: dict[str, float], spending: dict[str, float], target: int) -> None:
    decision, _ = look(spent(**spending), settings(max=50, **config), PoolState(startup_p90=3.0), HOUR)
    assert decision.target == target
    assert decision.orders.drain == ()


def test_what_is_left_is_spread_over_a_mean_run_but_not_past_the_window() -> None:
    config, state = settings(max=50, hour_agent_seconds=7200), PoolState(startup_p90=3.0, service_mean=600.0)
    assert look(spent(), config, state, HOUR)[0].target == 12
    assert look(spent(), config, state, HOUR + 1700)[0].target > 12


@pytest.mark.parametrize(
    ("config", "spending"),
    [({"hour_usd": 1}, {"hour_nano_usd": 10**9}), ({"day_agent_seconds": 100}, {"day_agent_seconds": 101})],
)
def test_a_budget_stop_drains_everybody(config: dict[str, float], spending: dict[str, float]) -> None:
    decision, _ = look(spent(**spending), settings(min=2, **config), at=HOUR)
    assert (decision.target, decision.binding) == (0, "budget")
    assert decision.orders == Orders(retire=("idle-0",), drain=("busy-0", "busy-1", "busy-2", "busy-3"))


def test_a_budget_from_outside_holds_and_stops() -> None:
    held, _ = look(pool(queued=9, busy=2, ceilings=Ceilings(budget=3)), CONFIG)
    assert (held.target, held.binding) == (3, "budget")
    stopped, _ = look(pool(queued=9, busy=2, ceilings=Ceilings(budget=0)), CONFIG)
    assert (stopped.target, len(stopped.orders.drain)) == (0, 2)
    assert "used up" in stopped.reason


def test_the_host_holds_growth() -> None:
    decision, _ = look(pool(queued=9, busy=2, ceilings=Ceilings(host=2)), CONFIG)
    assert (decision.target, decision.binding) == (2, "host")
