"""The policy ``threshold``: depths, cooldown, draining to min."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fleet.scaling.pools import NOW, look, pool, settings

from ezaigent.fleet.scaling import Finish, Orders, PoolState

CONFIG = settings(policy="threshold", max=10)


@pytest.mark.parametrize(("depth", "target"), [(5, 1), (20, 1), (21, 2), (39, 2), (40, 3), (1000, 10)])
def test_it_scales_up_above_twenty(depth: int, target: int) -> None:
    decision, _ = look(pool(queued=depth, busy=1), CONFIG)
    assert decision.target == target
    assert decision.orders == Orders(start=target - 1)


def test_on_the_way_up_it_never_goes_down() -> None:
    decision, _ = look(pool(queued=21, busy=4, idle=[500, 500]), CONFIG)
    assert (decision.target, decision.delta) == (6, 0)


def test_depth_four_drains_to_min_without_interrupting_a_task() -> None:
    decision, state = look(pool(queued=4, busy=2, idle=[9, 8, 7]), CONFIG)
    assert decision.orders == Orders(retire=("idle-0", "idle-1", "idle-2"))
    assert decision.target == 2
    decision, state = look(pool(queued=0, busy=1, idle=[0], at=NOW + 20), CONFIG, state, NOW + 20)
    assert decision.orders == Orders(retire=("idle-0",)), "the same draining goes on, cooldown or not"
    decision, state = look(pool(queued=0, idle=[0], at=NOW + 40), CONFIG, state, NOW + 40)
    assert decision.target == 1, "min holds"
    assert state.scaled_at == NOW, "and the cooldown is counted from its beginning"


def test_depth_five_does_not_drain() -> None:
    decision, _ = look(pool(queued=5, idle=[900, 900]), CONFIG)
    assert decision.delta == 0


def test_a_change_within_the_cooldown_is_refused_and_says_so() -> None:
    _, state = look(pool(queued=21, busy=1), CONFIG)
    refused, state = look(pool(queued=60, busy=2, at=NOW + 100), CONFIG, state, NOW + 100)
    assert (refused.delta, refused.binding) == (0, "cooldown")
    assert refused.reason == "60 tasks wait, more than 20, but 200 s of the 300 s cooldown are left: 2 agents stay"
    refused, state = look(pool(queued=0, idle=[1, 1], at=NOW + 200), CONFIG, state, NOW + 200)
    assert (refused.delta, refused.binding) == (0, "cooldown"), "in either direction"
    allowed, _ = look(pool(queued=60, busy=2, at=NOW + 300), CONFIG, state, NOW + 300)
    assert allowed.target == 4


def test_nothing_to_refuse_is_no_refusal() -> None:
    _, state = look(pool(queued=21, busy=1), CONFIG)
    decision, _ = look(pool(queued=10, busy=2, at=NOW + 1), CONFIG, state, NOW + 1)
    assert decision.binding is None
    assert decision.reason == "10 tasks wait, from 5 to 20: 2 agents stay"


def test_min_and_max_do_not_wait_for_the_cooldown() -> None:
    state = PoolState(scaled_at=NOW - 1)
    killed, after = look(pool(queued=0), settings(policy="threshold", min=2), state)
    assert (killed.orders, killed.binding) == (Orders(start=2), "min")
    assert after.scaled_at == NOW - 1
    cut, _ = look(pool(queued=10, busy=1, idle=[1, 2, 3]), settings(policy="threshold", max=2), state)
    assert (cut.target, cut.binding) == (2, "max")


def test_a_clock_that_went_back_does_not_extend_the_cooldown() -> None:
    decision, _ = look(pool(queued=21, busy=1), CONFIG, PoolState(scaled_at=NOW + 3600))
    assert decision.target == 2


def test_an_empty_pool_gets_an_agent_when_a_task_waits() -> None:
    config = settings(policy="threshold", min=0)
    assert look(pool(queued=1), config)[0].orders == Orders(start=1)
    assert look(pool(queued=0), config)[0].orders == Orders()


TROUBLED = PoolState(service_mean=600.0, service_recent=1000.0, failures=0.15)


def test_slow_runs_with_errors_add_an_agent_unless_the_provider_limits() -> None:
    decision, _ = look(pool(queued=10, busy=2), CONFIG, TROUBLED)
    assert decision.target == 3
    assert decision.reason == "runs are slow and 15% of them fail, not by provider limits: from 2 to 3 agents"
    limited, _ = look(pool(queued=10, busy=2), CONFIG, replace(TROUBLED, limits=0.1))
    assert limited.delta == 0
    few, _ = look(pool(queued=10, busy=2), CONFIG, replace(TROUBLED, failures=0.1))
    assert few.delta == 0
    quick, _ = look(pool(queued=10, busy=2), CONFIG, replace(TROUBLED, service_recent=800.0))
    assert quick.delta == 0


def test_slowness_and_failures_are_learned_from_runs() -> None:
    runs = tuple(Finish(NOW, 600.0) for _ in range(100))
    _, state = look(pool(busy=2, queued=10, finishes=runs), CONFIG)
    assert (state.service_mean, state.failures) == (600.0, 0.0)
    slow = tuple(Finish(NOW, 3000.0, failed=True, limited=number < 2) for number in range(8))
    decision, state = look(pool(busy=2, queued=10, finishes=slow), CONFIG, state)
    assert state.failures > state.errors > 0.1
    assert 0 < state.limits < state.failures / 2
    assert decision.wanted == 3
