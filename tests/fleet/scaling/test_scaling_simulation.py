"""The simulation: against queueing theory, and against what can be worked out by hand."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

import pytest
from tests.fleet.scaling.pools import settings

from ezaigent.fleet.scaling import Orders, PoolDecision, PoolSnapshot
from ezaigent.fleet.scaling.outcome import percentile
from ezaigent.fleet.scaling.simulate import lognormal, replay, simulate


def erlang_c(agents: int, load: float) -> float:
    """Probability of waiting in M/M/c with an offered load in Erlang."""
    last = load**agents / math.factorial(agents) * agents / (agents - load)
    return last / (math.fsum(load**k / math.factorial(k) for k in range(agents)) + last)


def poisson(rate: float, count: int, seed: int) -> list[float]:
    rng, at, out = random.Random(seed), 0.0, list[float]()
    for _ in range(count):
        at += rng.expovariate(rate)
        out.append(at)
    return out


@pytest.mark.parametrize(("agents", "load", "count"), [(1, 0.5, 50_000), (8, 5.6, 100_000)])
def test_a_fixed_pool_is_an_erlang_c_queue(agents: int, load: float, count: int) -> None:
    mean = 10.0
    rng = random.Random(1)
    arrivals = poisson(load / mean, count, 2)
    made = replay(arrivals, lambda: rng.expovariate(1 / mean), 3.0, settings(policy="static", size=agents, period=300))
    waiting = erlang_c(agents, load)
    assert sum(wait > 0 for wait in made.waits) / count == pytest.approx(waiting, rel=0.05)
    assert made.wait_mean == pytest.approx(waiting * mean / (agents - load), rel=0.05)
    assert made.cost == pytest.approx(agents / load, rel=0.05)
    assert (made.launches, made.actions, made.busy_hit) == (0, 0, 0)


def test_waits_are_those_of_first_come_first_served() -> None:
    draw = lognormal(60, 300, 4000, 3)
    arrivals = poisson(1 / 15, 1000, 4)
    services = [draw() for _ in arrivals]
    made = replay(arrivals, services, 3.0, settings(policy="static", size=6))
    free = [0.0] * 6
    expected: list[float] = []
    for at, seconds in zip(arrivals, services, strict=True):
        begin = max(at, heapq.heappop(free))
        heapq.heappush(free, begin + seconds)
        expected.append(begin - at)
    assert made.waits == pytest.approx(expected)


def test_a_burst_by_hand() -> None:
    """One agent is there. Three tasks come at 0; two agents are started for them and are ready at 30."""
    made = replay([0.0, 0.0, 0.0], [100.0, 100.0, 100.0], 30.0, settings(max=3))
    assert made.waits == (0.0, 30.0, 30.0)
    assert made.late_share == pytest.approx(2 / 3)
    assert (made.launches, made.peak, made.unserved) == (2, 3, 0)
    assert made.busy_hours == 300 / 3600
    assert made.agent_hours == pytest.approx(3 * 130 / 3600)
    assert (len(made.series), made.series[0].agents, made.series[20].queued, made.series[40].busy) == (131, 1, 2, 3)


def test_the_first_look_is_of_what_came_at_zero() -> None:
    seen: list[PoolDecision] = []
    replay([0.0], [1.0], 3.0, settings(policy="threshold"), watch=lambda _, decision: seen.append(decision))
    assert seen[0].inner["running"] == 1


def test_hours_are_counted_up_to_the_end_that_is_given() -> None:
    made = replay([0.0], [100.0], 3.0, settings(policy="static", size=2), until=50.0)
    assert (made.agent_hours, made.busy_hours) == (100 / 3600, 50 / 3600)
    later = replay([0.0], [100.0], 3.0, settings(policy="static", size=2), until=200.0)
    assert later.agent_hours == pytest.approx(400 / 3600)


def test_a_pool_that_serves_nobody_is_left_after_a_day() -> None:
    made = replay([1.0, 2.0], [5.0, 5.0], 3.0, settings(policy="static", min=0, size=0, period=300))
    assert (made.unserved, made.late_share, made.tasks) == (2, 1.0, 2)
    assert math.isnan(made.cost)
    assert 300 <= len(made.series) <= 600


def test_no_tasks_are_no_trouble() -> None:
    made = replay([], [], 3.0, settings())
    assert (made.tasks, made.late_share, made.wait_p95, made.wait_mean) == (0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="2 arrivals need as many service times, not 1"):
        replay([1.0, 2.0], [1.0], 3.0, settings())


def test_the_same_seed_is_the_same_day() -> None:
    arrivals = poisson(1 / 30, 300, 1)
    first, again = (replay(arrivals, lognormal(600, 1800, 9000, 2), 30.0, settings(max=90)) for _ in range(2))
    assert first == again


def test_slo_holds_its_share_of_late_tasks_without_hitting_anybody() -> None:
    arrivals = poisson(20 / 754, 2500, 11)
    made = replay(arrivals, lognormal(605, 1800, 14_400, 12), 30.0, settings(max=200), until=arrivals[-1])
    assert made.late_share <= 0.05
    assert made.cost <= 1.35
    assert made.busy_hit == 0


@dataclass
class Script:
    """Gives orders at set times."""

    orders: dict[float, Orders]
    period: float = 10.0
    eager: bool = False
    seen: list[tuple[float, int, float]] = field(default_factory=list[tuple[float, int, float]])

    def look(self, at: float, pool: PoolSnapshot, load: float) -> Orders:
        self.seen.append((at, len(pool.draining), load))
        return self.orders.get(at, Orders())


def test_agents_that_leave_finish_their_task_and_may_be_taken_back() -> None:
    script = Script(
        {
            10.0: Orders(start=2, drain=("0000001", "0000002")),
            20.0: Orders(recall=("0000001",), retire=("0000003",)),
        }
    )
    made = simulate([0.0, 0.0, 60.0], [50.0, 50.0, 10.0], 30.0, script, first=2)
    assert made.waits == (0.0, 0.0, 0.0), "the one taken back serves the third task"
    assert (made.launches, made.actions, made.busy_hit) == (2, 2, 2)
    lives = 70 + 50 + 10 + 60
    assert made.agent_hours == pytest.approx(lives / 3600)
    assert script.seen[:4] == [(0.0, 0, 0.0), (10.0, 0, 20.0), (20.0, 2, 40.0), (30.0, 1, 60.0)]


def test_percentiles_are_nearest_ranks() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 0.51, 1.0)] == [1.0, 2.0, 3.0, 4.0]
    draw = lognormal(605, 1800, 14_400, 1)
    drawn = sorted(draw() for _ in range(20_000))
    assert percentile(drawn, 0.5) == pytest.approx(605, rel=0.05)
    assert percentile(drawn, 0.95) == pytest.approx(1800, rel=0.05)
