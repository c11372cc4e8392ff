"""What holds for every policy, whatever it sees."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.fleet.scaling.pools import NOW, configs, look, pool, pools, settings, states

from ezaigent.fleet.scaling import (
    Ceilings,
    Leaving,
    Orders,
    PolicyState,
    PoolSnapshot,
    PoolState,
    ScalingSettings,
    Seat,
)

ANY_POLICY = st.sampled_from(("slo", "threshold", "static"))


@given(pools(free=True), configs(), states)
def test_min_and_max_hold_within_one_look(snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState) -> None:
    calm = replace(state, provider=None, guarding=False, start_after=None)
    own = config.pool("claude").model_copy(update={"hour_usd": None, "hour_agent_seconds": None})
    decision, _ = look(snapshot, ScalingSettings(**own.model_dump()), calm)
    assert own.min <= decision.target <= own.max


@given(pools(), configs(), states)
def test_max_holds_whatever_the_guards_say(snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState) -> None:
    decision, _ = look(snapshot, config, state)
    assert 0 <= decision.target <= config.pool("claude").max


@given(pools(), configs(), states)
def test_orders_lead_to_the_target(snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState) -> None:
    decision, _ = look(snapshot, config, state)
    orders = decision.orders
    gone = [*orders.retire, *orders.drain]
    assert len(set(gone)) == len(gone)
    assert (
        decision.before + orders.start + len(orders.recall) - len(gone)
        == decision.target
        == decision.before + decision.delta
    )
    assert bool(orders) == (decision.delta != 0)
    assert decision.reason
    assert "\n" not in decision.reason


@given(pools(), configs(), states)
def test_a_busy_agent_leaves_only_for_a_cut_or_a_budget_stop(
    snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState
) -> None:
    own = config.pool("claude")
    decision, _ = look(snapshot, config, state)
    busy = {seat.agent for seat in snapshot.busy}
    assert not busy & set(decision.orders.retire), "it drains; it is never stopped"
    assert set(decision.orders.drain) <= busy
    if decision.orders.drain:
        cut = own.max < decision.before or own.policy == "static"
        assert cut or decision.binding == "budget"
        idle = {seat.agent for seat in (*snapshot.idle, *snapshot.starting)}
        assert idle <= set(decision.orders.retire), "those without a task go first"


@given(pools(), configs(), states, st.floats(15.001, 1e6))
def test_old_metrics_change_nothing(
    snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState, age: float
) -> None:
    decision, after = look(replace(snapshot, metrics_age=age), config, state)
    assert (decision.delta, decision.orders, decision.binding) == (0, Orders(), "stale")
    assert after == state
    assert "metrics" in decision.reason


@given(pools(), configs(), states)
def test_the_same_look_decides_the_same(snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState) -> None:
    assert look(snapshot, config, state) == look(snapshot, config, state)


@given(pools(), configs(), states)
def test_the_memory_survives_json(snapshot: PoolSnapshot, config: ScalingSettings, state: PoolState) -> None:
    decision, after = look(snapshot, config, state)
    memory = PolicyState({"claude": after, "gpt": PoolState()})
    assert PolicyState.from_json(json.loads(json.dumps(memory.to_json()))) == memory
    assert json.loads(json.dumps(decision.to_json()))["delta"] == decision.delta


def test_a_memory_of_another_version_is_read_as_far_as_it_goes() -> None:
    read = PolicyState.from_json({"pools": {"claude": {"fast": 0.5, "unheard_of": 1}}, "more": 2})
    assert read == PolicyState({"claude": PoolState(fast=0.5)})
    assert PolicyState.from_json({}) == PolicyState()


@given(pools(free=True), st.integers(1, 60))
def test_a_draining_agent_is_taken_back_before_one_is_started(snapshot: PoolSnapshot, size: int) -> None:
    decision, _ = look(snapshot, settings(policy="static", min=0, max=60, size=size))
    back = [agent for agent in snapshot.draining if agent.recallable]
    assert len(decision.orders.recall) == min(len(back), max(0, decision.delta))
    assert not decision.orders.start or len(decision.orders.recall) == len(back)
    assert set(decision.orders.recall) <= {agent.agent for agent in back}


def test_the_one_that_drained_last_comes_back_first() -> None:
    draining = (Leaving("first", NOW - 50), Leaving("last", NOW - 5), Leaving("upgraded", NOW - 1, recallable=False))
    decision, _ = look(pool(busy=1, draining=draining), settings(policy="static", size=4))
    assert decision.orders == Orders(recall=("last", "first"), start=1)


def test_the_one_idle_for_the_longest_goes_first() -> None:
    decision, _ = look(pool(busy=2, idle=[10, 90, 50]), settings(policy="static", size=3))
    assert decision.orders == Orders(retire=("idle-1", "idle-2"))


def test_a_config_cut_takes_idle_then_starting_then_busy_ones() -> None:
    config = settings(policy="slo", max=2)
    decision, _ = look(pool(busy=3, idle=[10], starting=2), config)
    assert decision.orders.retire == ("idle-0", "starting-0", "starting-1")
    assert decision.orders.drain == ("busy-0",)
    assert (decision.target, decision.binding) == (2, "max")


def test_what_is_held_is_said_in_one_sentence() -> None:
    decision, _ = look(pool(queued=8, busy=3), settings(max=5))
    assert decision.reason == (
        "8 tasks wait, 0 agents are idle, a reserve of 1 is due and 9 must be on the way: "
        "from 3 to 5 agents, held by max = 5"
    )
    assert (decision.wanted, decision.target, decision.binding) == (12, 5, "max")


def test_pools_are_decided_apart_and_remembered_on() -> None:
    from ezaigent.fleet.scaling import FleetSnapshot, decide

    config = settings(policy="static", pools={"gpt": {"size": 3}})
    gone = PoolState(alpha=0.3)
    decision = decide(
        FleetSnapshot(NOW, (PoolSnapshot("claude"), PoolSnapshot("gpt", idle=(Seat("gpt-1", NOW),)))),
        PolicyState({"mistral": gone}),
        config,
    )
    assert [(one.pool, one.target) for one in decision.pools] == [("claude", 1), ("gpt", 3)]
    assert decision.state.pools["mistral"] == gone
    assert set(decision.state.pools) == {"claude", "gpt", "mistral"}


def test_a_dry_run_decides_and_says_so() -> None:
    decision, _ = look(pool(queued=1), settings(dry_run=True))
    assert decision.dry_run
    assert decision.orders.start > 0


def test_a_ceiling_from_outside_retires_idle_agents_and_spares_busy_ones() -> None:
    decision, _ = look(pool(busy=4, idle=[1, 2]), settings(), state=PoolState(fast=1.0))
    assert decision.target >= 6
    held, _ = look(pool(busy=4, idle=[1, 2], ceilings=Ceilings(host=2)), settings())
    assert (held.target, held.binding) == (4, "busy")
    assert held.orders == Orders(retire=("idle-1", "idle-0"))
