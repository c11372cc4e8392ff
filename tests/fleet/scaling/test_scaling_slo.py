"""The policy ``slo``: its reserve, its learning, and what it keeps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fleet.scaling.pools import NOW, look, pool, settings

from ezaigent.fleet.scaling import Finish, Orders, PoolState, Start
from ezaigent.fleet.scaling.poisson import reserve

CONFIG = settings(max=100)


def tail(mean: float, count: int) -> float:
    """P(Poisson(mean) >= count), summed from below."""
    below = math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count))
    return 1 - below


@given(st.floats(0.001, 400), st.floats(1e-4, 0.999))
def test_the_reserve_is_the_least_whose_tail_is_small_enough(mean: float, miss: float) -> None:
    found = reserve(mean, miss)
    assert tail(mean, found) <= miss + 1e-9
    assert found == 0 or tail(mean, found - 1) > miss - 1e-9


def test_the_reserve_at_the_ends() -> None:
    assert reserve(5.0, 1.0) == 0
    assert reserve(0.0, 0.5) == 1
    assert reserve(1e6, 0.045) == pytest.approx(1e6 + 1.7 * 1e3, rel=1e-4)


def test_the_formula_by_hand() -> None:
    """D 30, W 15, rate 0.1: h 16, mean 1.6, P(X >= 4) = 0.079, P(X >= 5) = 0.024, so H is 5."""
    state = PoolState(looked_at=NOW, fast=0.02, slow=0.1, service_mean=600.0, startup_p90=30.0)
    decision, _ = look(pool(queued=2, busy=40, idle=[70, 10], starting=1), CONFIG, state)
    inner = decision.inner
    assert (inner["h"], inner["rate"], inner["H"]) == (16.0, 0.1, 5)
    assert inner["J"] == math.ceil(2 + 5 - 2 - 0.5 * 40 / 600 * 30) == 4
    assert inner["keep"] == 2
    assert decision.target == 40 + 2 + 4
    assert decision.orders == Orders(start=3)


def test_short_starts_need_no_reserve() -> None:
    state = PoolState(looked_at=NOW, fast=1.0, slow=1.0, startup_p90=3.0)
    decision, _ = look(pool(busy=3, idle=[100, 7, 2]), settings(min=0), state)
    assert decision.inner["H"] == 0
    assert decision.inner["keep"] == 1
    assert decision.orders == Orders(retire=("idle-0", "idle-1")), "only who was busy within two start-ups stays"


def test_a_negative_miss_probability_adds_one() -> None:
    state = PoolState(looked_at=NOW, fast=0.1, startup_p90=30.0)
    least = look(pool(), CONFIG, PoolState(looked_at=NOW, fast=0.1, startup_p90=30.0, alpha=0.0))[0].inner["H"]
    more = look(pool(), CONFIG, PoolState(looked_at=NOW, fast=0.1, startup_p90=30.0, alpha=-0.01))[0].inner["H"]
    none = look(pool(), CONFIG, PoolState(looked_at=NOW, fast=0.1, startup_p90=30.0, alpha=1.0))[0].inner["H"]
    assert (least, more, none) == (reserve(1.6, 1e-4), reserve(1.6, 1e-4) + 1, 0)
    assert state.alpha == 0.045


def test_late_tasks_teach() -> None:
    _, state = look(pool(starts=(Start(NOW, 15.0),)), CONFIG)
    assert state.alpha == pytest.approx(0.045 + 0.01 * 0.04), "at the target is in time"
    _, state = look(pool(starts=(Start(NOW, 15.1), Start(NOW, 30.0))), CONFIG)
    assert state.alpha == pytest.approx(0.045 - 2 * 0.01 * 0.96)


@given(st.lists(st.booleans(), max_size=60))
def test_what_is_learned_stays_within_its_bounds(late: list[bool]) -> None:
    starts = tuple(Start(NOW, 99.0 if one else 0.0) for one in late * 40)
    _, state = look(pool(starts=starts), CONFIG)
    assert -0.5 <= state.alpha <= 1.5


def test_nothing_is_learned_at_the_ceiling() -> None:
    config = settings(max=5)
    late = (Start(NOW + 60, 50.0),)
    held, state = look(pool(queued=40, busy=5), config)
    assert held.binding == "max"
    assert state.capped
    _, state = look(pool(queued=40, busy=5, starts=late, at=NOW + 60), config, state, NOW + 60)
    assert state.alpha == 0.045
    _, state = look(pool(busy=1, idle=[1], at=NOW + 70), config, state, NOW + 70)
    assert not state.capped
    waited = (Start(NOW + 80, 50.0), Start(NOW + 80, 15.5))
    _, state = look(pool(busy=2, idle=[1], starts=waited, at=NOW + 80), config, state, NOW + 80)
    assert state.alpha == pytest.approx(0.045 - 0.0096), "the one that came after the ceiling counts"


def test_the_driver_may_say_itself_who_waited_at_the_ceiling() -> None:
    late = (Start(NOW, 50.0, capped=True), Start(NOW, 50.0, capped=False))
    _, state = look(pool(starts=late), CONFIG, PoolState(capped=True))
    assert state.alpha == pytest.approx(0.045 - 0.0096)


def test_rates_are_the_same_however_often_one_looks() -> None:
    config = settings(policy="static")
    _, state = look(pool(arrivals=6), config)
    assert (state.fast, state.slow) == (6 / 60, 6 / 600)
    once = look(pool(at=NOW + 10), config, state, NOW + 10)[1]
    _, twice = look(pool(at=NOW + 4), config, state, NOW + 4)
    twice = look(pool(at=NOW + 10), config, twice, NOW + 10)[1]
    assert (twice.fast, twice.slow) == pytest.approx((once.fast, once.slow))
    steady = state
    for step in range(1, 2000):
        steady = look(pool(arrivals=1), config, steady, NOW + 5 * step)[1]
    assert (steady.fast, steady.slow) == pytest.approx((0.2, 0.2), rel=1e-3)


def test_start_ups_and_service_times_are_measured() -> None:
    runs = tuple(Finish(NOW, float(seconds)) for seconds in range(300))
    decision, state = look(pool(startups=tuple(map(float, range(1, 101))), finishes=runs), CONFIG)
    assert state.startup_p90 == 95.0, "of the last 50"
    assert state.service_mean == sum(range(100, 300)) / 200
    assert decision.inner["D"] == 95.0
    assert len(state.startups) == 50
    assert len(state.services) == 200
