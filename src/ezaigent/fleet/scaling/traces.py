"""A trace in a CSV file: when tasks came, and how long each took."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ezaigent.core.errors import UsageError
from ezaigent.core.scaling import ScalingSettings
from ezaigent.fleet.scaling.outcome import Outcome
from ezaigent.fleet.scaling.simulate import lognormal, replay

ARRIVALS: Final = ("arrival", "arrival_s", "timestamp_s", "timestamp", "at", "time")
"""Names of the column of arrivals, in any case: seconds, or a date and time."""
SERVICES: Final = ("service", "service_s", "seconds", "duration", "duration_s")
"""Names of the column of seconds that a task takes; it may be missing."""
MEDIAN, P95, LONGEST = 605.0, 1800.0, 14_400.0
"""Seconds that coding tasks take where the file does not say: lognormal, as recorded sessions of agents."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Tasks in order of arrival."""

    arrivals: tuple[float, ...]
    """Seconds since the first one."""
    services: tuple[float, ...]
    """Seconds that each takes."""


def read_trace(path: Path, *, seed: int = 1) -> Trace:
    """Read a CSV file with a heading; ``seed`` draws the service times where it names none.

    Raises ``UsageError`` naming the line for what cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = {name.strip().lower(): name for name in rows.fieldnames or () if name}
            arrival = next((names[one] for one in ARRIVALS if one in names), None)
            if arrival is None:
                raise UsageError(f"{str(path)!r} has no column of arrivals; name one of them {ARRIVALS[0]!r}")
            service = next((names[one] for one in SERVICES if one in names), None)
            draw = lognormal(MEDIAN, P95, LONGEST, seed)
            tasks: list[tuple[float, float]] = []
            for row in rows:
                length = draw() if service is None else _seconds(path, rows.line_num, service, row)
                tasks.append((_time(path, rows.line_num, arrival, row), length))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the trace {str(path)!r} cannot be read: {error}") from None
    if not tasks:
        raise UsageError(f"the trace {str(path)!r} holds no task")
    tasks.sort()
    first = tasks[0][0]
    return Trace(tuple(at - first for at, _ in tasks), tuple(length for _, length in tasks))


def _seconds(path: Path, line: int, column: str, row: Mapping[str, str | None]) -> float:
    text = (row.get(column) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{str(path)!r}, line {line}: {column} is {text!r}, which is no number of seconds")
    return value


def _time(path: Path, line: int, column: str, row: Mapping[str, str | None]) -> float:
    text = (row.get(column) or "").strip()
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text[:26])
        except ValueError:
            raise UsageError(
                f"{str(path)!r}, line {line}: {column} is {text!r}, which is neither seconds nor a date and time"
            ) from None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise UsageError(f"{str(path)!r}, line {line}: {column} is {text!r}, which is no time")
    return value


def replay_trace(trace: Trace, startup: float, config: ScalingSettings, *, pool: str = "replay") -> Outcome:
    """Run the configured policy over the trace; a start takes ``startup`` seconds."""
    return replay(trace.arrivals, trace.services, startup, config, pool=pool)
