"""The autoscaler beside HPA/KEDA, Ray Serve, Knative, fixed sizes and an oracle, on the same days in one run.

``python -m benchmarks.autoscaler [--traces DIR] [--loads 10,40,75] [--seeds N] [--startups 30,3] [--plot FILE.svg]``.
A discrete-event simulation that calls the production decision. The recorded traces are not part of the repository:
``--traces`` names a folder with ``azure_llm_code_2023.csv`` (Azure/AzurePublicDataset, CC-BY-4.0; columns TIMESTAMP, …)
and ``mooncake_conversation_timestamps.csv`` (kvcache-ai/Mooncake, Apache-2.0; column timestamp_s). Without them only
the synthetic days are run, and the output says so.

Figures are medians over the seeds; "late, worst" is the highest of them. A policy that misses the goal on waiting is
marked: its cost is not comparable with that of one that meets it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.autoscaling.bounds import Figures, fixed, oracle, peak, smallest_fixed
from benchmarks.autoscaling.drawing import Mark, draw
from benchmarks.autoscaling.peers import Hpa, Knative, RayServe
from benchmarks.autoscaling.traces import LONGEST, MEDIAN, P95, STRETCH, Trace, makers
from benchmarks.conditions import conditions
from ezaigent.fleet.scaling import ScalingSettings
from ezaigent.fleet.scaling.simulate import Production, simulate
from ezaigent.fleet.scaling.world import Controller

TARGET, SHARE = 15.0, 0.05
"""The SLO: at most this share of the tasks waits longer than so many seconds."""
COST = 1.35
LOWEST, HIGHEST = 1, 1000
OURS = "slo (ours)"

Runner = Callable[[Trace, float], Figures]
"""From a trace and a start-up time to the figures."""


def scaled(make: Callable[[], Controller], trace: Trace, startup: float) -> Figures:
    """Simulate a policy."""
    made = simulate(
        trace.arrivals, trace.services, startup, make(), first=LOWEST, wait_target=TARGET, until=trace.until
    )
    waits = (made.wait_p50, made.wait_p95, made.wait_p99)
    return Figures(made.cost, made.agent_hours, *waits, made.late_share, made.launches, made.busy_hit)


def ours(**settings: object) -> Controller:
    """Return the product with its default settings but these; min and max are those of all subjects."""
    return Production(ScalingSettings.model_validate({"min": LOWEST, "max": HIGHEST, **settings}))


def static_peak(trace: Trace, _startup: float) -> Figures:
    """As many agents as are ever busy at the same time, all day."""
    return fixed(trace, peak(trace), TARGET)


def static_least(trace: Trace, _startup: float) -> Figures:
    """The smallest fixed number that meets the SLO, known in hindsight."""
    return fixed(trace, smallest_fixed(trace, TARGET, SHARE), TARGET)


def zero_wait(trace: Trace, startup: float) -> Figures:
    """The cheapest fleet in which nothing waits, known in hindsight."""
    return oracle(trace, startup, TARGET)


SUBJECTS: dict[str, Runner] = {
    OURS: partial(scaled, partial(ours, policy="slo")),
    "slo, late_share 4.5 %": partial(scaled, partial(ours, policy="slo", late_share=0.045)),
    "threshold (ours)": partial(scaled, partial(ours, policy="threshold")),
    "HPA/KEDA, target 1": partial(scaled, partial(Hpa, 1, LOWEST, HIGHEST)),
    "HPA/KEDA, target 5": partial(scaled, partial(Hpa, 5, LOWEST, HIGHEST)),
    "Ray Serve, target 2": partial(scaled, partial(RayServe, 2, LOWEST, HIGHEST)),
    "Ray Serve, target 1": partial(scaled, partial(RayServe, 1, LOWEST, HIGHEST)),
    "Knative, 1 x 70 %": partial(scaled, partial(Knative, LOWEST, HIGHEST)),
    "static, peak": static_peak,
    "static, least": static_least,
    "oracle, no wait": zero_wait,
}


def one(folder: Path | None, load: float, startup: float, trace: str, seed: int) -> tuple[dict[str, Figures], float]:
    """Run every subject on one day; also return its load."""
    day = makers(folder)[trace](load, seed)
    return {name: run(day, startup) for name, run in SUBJECTS.items()}, day.load


def middle(seeds: Sequence[Figures]) -> Figures:
    """Return the medians."""

    def of(get: Callable[[Figures], float]) -> float:
        return statistics.median(get(one) for one in seeds)

    return Figures(
        cost=of(lambda one: one.cost),
        agent_hours=of(lambda one: one.agent_hours),
        p50=of(lambda one: one.p50),
        p95=of(lambda one: one.p95),
        p99=of(lambda one: one.p99),
        late=of(lambda one: one.late),
        launches=round(of(lambda one: one.launches)),
        hits=round(of(lambda one: one.hits)),
    )


def table(title: str, found: dict[str, list[Figures]]) -> dict[str, tuple[Figures, bool]]:
    """Print one day's table; return the medians and who meets the SLO with every seed."""
    print(f"\n{title}")
    heads = ("agent-h", "p50", "p95", "p99", "late", "worst", "starts")
    print(f"  {'':<21}{'cost':>6}{''.join(f'{head:>9}' for head in heads)}{'hit':>6}")
    rows: dict[str, tuple[Figures, bool]] = {}
    for name, seeds in found.items():
        row, worst = middle(seeds), max(one.late for one in seeds)
        met = worst <= SHARE
        rows[name] = row, met
        print(
            f"  {name:<21}{row.cost:6.2f}{row.agent_hours:9.0f}{row.p50:9.1f}{row.p95:9.1f}{row.p99:9.1f}"
            f"{row.late:9.1%}{worst:9.1%}{row.launches:9}{row.hits:6}{'' if met else '  misses the SLO'}"
        )
    return rows


def summary(title: str, days: dict[str, dict[str, tuple[Figures, bool]]]) -> bool:
    """Print the goal for one load and start-up time; return whether it is met."""
    print(f"\n{title}: mean cost over {len(days)} traces, of those that meet the SLO on all of them")
    met_by: dict[str, float] = {}
    for name in SUBJECTS:
        missed = [trace for trace, day in days.items() if not day[name][1]]
        if missed:
            print(f"  {name:<21}    --  misses the SLO on {', '.join(missed)}")
        else:
            met_by[name] = statistics.mean(day[name][0].cost for day in days.values())
            print(f"  {name:<21}{met_by[name]:6.3f}")
    good = OURS in met_by and met_by[OURS] <= COST
    print(f"  goal: {OURS} meets the SLO on every trace at a mean cost <= {COST}: {'met' if good else 'NOT met'}")
    return good


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.autoscaler", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--traces", type=Path, help="folder with the recorded traces")
    parser.add_argument("--loads", default="10,40,75", help="agents busy on average, by comma")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--startups", default="30,3", help="seconds that a start takes, by comma")
    parser.add_argument("--plot", type=Path, help="write cost against p95 wait to this SVG")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    given = parser.parse_args()
    names = list(makers(given.traces))
    if len(names) == len(makers(None)):
        print("the recorded traces are not here (--traces DIR): only synthetic days are run", file=sys.stderr)
    loads, startups = ([float(text) for text in texts.split(",")] for texts in (given.loads, given.startups))
    seeds = range(1, given.seeds + 1)
    cells = [(load, startup, name, seed) for load in loads for startup in startups for name in names for seed in seeds]
    with ProcessPoolExecutor(given.jobs) as pool:
        waiting = {cell: pool.submit(one, given.traces, *cell) for cell in cells}
        found = {cell: future.result() for cell, future in waiting.items()}
    print(
        conditions(
            slo=f"at most {SHARE:.0%} of tasks wait > {TARGET:g} s",
            loads=f"{given.loads} agents busy on average, thinned to it",
            stretch=f"x{STRETCH} (recorded traces)",
            service=f"lognormal p50 {MEDIAN:g} s, p95 {P95:g} s, <= {LONGEST:g} s",
            pool=f"min {LOWEST}, max {HIGHEST}, {LOWEST} ready at the beginning",
            seeds=given.seeds,
            busy_hit="drains and finishes",
            config="defaults, the same for all days",
        )
    )
    marks: list[Mark] = []
    goals: dict[str, bool] = {}
    for load in loads:
        for startup in startups:
            title = f"load {load:g}, start-up {startup:g} s"
            days: dict[str, dict[str, tuple[Figures, bool]]] = {}
            for name in names:
                runs = [found[load, startup, name, seed] for seed in seeds]
                real = statistics.median(load for _, load in runs)
                days[name] = table(
                    f"{name}, {title} (drawn: {real:.1f})", {by: [run[by] for run, _ in runs] for by in SUBJECTS}
                )
                note = f"{name}, {title}"
                marks += [Mark(by, row.cost, row.p95, met, note) for by, (row, met) in days[name].items()]
            goals[title] = summary(title, days)
    if given.plot:
        title = f"Cost against p95 wait, loads {given.loads}, {given.seeds} seeds (medians)"
        given.plot.write_text(draw(marks, title, TARGET), encoding="utf-8")
        print(f"\ndrawn: {given.plot}")
    print()
    for title, good in goals.items():
        print(f"{title}: goal {'met' if good else 'NOT met'}")


if __name__ == "__main__":
    main()
