"""Arrivals of one day and the seconds that each task takes.

The recorded traces are request arrivals of about an hour. They are stretched by 24 to a day and thinned at random to
the load that is asked for, in agents busy on average. Service times are lognormal with the median and the 95th
percentile of recorded coding-agent sessions, clipped at 4 h; both draws come from the seed.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ezaigent.fleet.scaling.simulate import lognormal

DAY = 86_400.0
STRETCH = 24
BIN = 3.0
"""Seconds that the times of the Mooncake trace are rounded to."""
MEDIAN, P95, LONGEST = 605.0, 1800.0, 14_400.0
"""Service times in seconds."""
MEAN = MEDIAN * math.exp((math.log(P95 / MEDIAN) / 1.6448536269514722) ** 2 / 2)
"""Their mean, the clipping not counted."""
AZURE, MOONCAKE = "azure_llm_code_2023.csv", "mooncake_conversation_timestamps.csv"


@dataclass(frozen=True)
class Trace:
    """One day of tasks."""

    name: str
    arrivals: list[float]
    services: list[float]
    until: float
    """Seconds that the day has: hours are counted up to here."""

    @property
    def load(self) -> float:
        """Agents busy on average if no task had to wait."""
        return sum(self.services) / self.until


Maker = Callable[[float, int], Trace]
"""From a load and a seed to a trace."""


def makers(folder: Path | None) -> dict[str, Maker]:
    """Return what makes each trace; the recorded ones only if ``folder`` has them."""
    found: dict[str, Maker] = {}
    if folder is not None and (folder / AZURE).is_file():
        azure = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in _rows(folder / AZURE)]
        found["azure code"] = _recorded("azure code", azure)
    if folder is not None and (folder / MOONCAKE).is_file():
        mooncake = [float(row["timestamp_s"]) for row in _rows(folder / MOONCAKE)]
        found["mooncake"] = _recorded("mooncake", mooncake)
        found["mooncake spread"] = _recorded("mooncake spread", mooncake, spread=BIN)
    return {**found, "diurnal": _diurnal, "burst": _burst}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _recorded(name: str, times: Sequence[float], *, spread: float = 0.0) -> Maker:
    """Stretch and thin recorded times; ``spread`` draws each one anywhere in its bin of so many recorded seconds."""
    begin = min(times)
    until = (max(times) + spread - begin) * STRETCH

    def make(load: float, seed: int) -> Trace:
        rng = random.Random(seed)
        share = min(1.0, load * until / MEAN / len(times))
        arrivals = sorted((at - begin + rng.random() * spread) * STRETCH for at in times if rng.random() < share)
        return _with_services(name, arrivals, until, seed)

    return make


def _diurnal(load: float, seed: int) -> Trace:
    """Return a day whose rate swings like a sine between a fifth of the mean and 1.8 times the mean."""
    return _poisson("diurnal", lambda at: 1 - 0.8 * math.cos(2 * math.pi * at / DAY), 1.8, load, seed)


def _burst(load: float, seed: int) -> Trace:
    """Return an even day with three steps to four times the rate, for half an hour each, without a warning."""
    usual = 1 / (1 + 3 * 3 * 1800 / DAY)
    bursts = (6 * 3600, 12 * 3600, 18 * 3600)

    def rate(at: float) -> float:
        return usual * (4 if any(begin <= at < begin + 1800 for begin in bursts) else 1)

    return _poisson("burst", rate, 4 * usual, load, seed)


def _poisson(name: str, rate: Callable[[float], float], highest: float, load: float, seed: int) -> Trace:
    """Draw a Poisson process by thinning; ``rate`` is relative to the mean and at most ``highest``."""
    rng = random.Random(seed)
    arrivals: list[float] = []
    at = 0.0
    while (at := at + rng.expovariate(highest * load / MEAN)) < DAY:
        if rng.random() * highest < rate(at):
            arrivals.append(at)
    return _with_services(name, arrivals, DAY, seed)


def _with_services(name: str, arrivals: list[float], until: float, seed: int) -> Trace:
    draw = lognormal(MEDIAN, P95, LONGEST, seed + 1_000_003)
    return Trace(name, arrivals, [draw() for _ in arrivals], until)
