"""What a change of settings would have meant: the fleet's own past, run again with both."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from ezaigent.core.described import described
from ezaigent.core.scaling import ScalingSettings
from ezaigent.fleet.scaler.recording import Recorded
from ezaigent.fleet.scaling.outcome import Outcome
from ezaigent.fleet.scaling.simulate import replay

MOST: Final = 5_000
"""Tasks that are run again at most, the newest: so many take seconds."""


class Sample(BaseModel):
    """A pool at one moment of a replay."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    at: float
    """Seconds since the first task came."""
    queued: int
    busy: int
    agents: int


class Replayed(BaseModel):
    """What a pool would have done and cost."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    policy: str
    agent_hours: float
    """Hours of agents that were there, at work or not."""
    wait_p50: float
    """This and the next two: seconds in the queue."""
    wait_p95: float
    wait_p99: float
    late_share: float
    """Share of tasks that waited longer than the wait target."""
    unserved: int
    """Tasks that never began."""
    launches: int
    """Agents started."""
    peak: int
    """Agents at most at one time."""
    series: tuple[Sample, ...]


class Preview(BaseModel):
    """The past twice: as the settings are, and as they would be."""

    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    tasks: int
    """Tasks of the past that were run again; with 0 there is nothing to compare."""
    startup: float
    """Seconds that a start takes: as measured, else as the settings say."""
    present: Replayed | None
    changed: Replayed | None


def preview(past: Recorded, present: ScalingSettings, changed: ScalingSettings, pool: str) -> Preview:
    """Run the newest tasks of ``past`` with both settings; pure, and busy for as long as it takes."""
    startup = past.startup if past.startup is not None else present.pool(pool).startup
    arrivals, services = past.arrivals[-MOST:], past.services[-MOST:]
    if not arrivals:
        return Preview(tasks=0, startup=startup, present=None, changed=None)
    times = [at - arrivals[0] for at in arrivals]
    before, after = (
        _replayed(one.pool(pool).policy, replay(times, services, startup, one, pool=pool)) for one in (present, changed)
    )
    return Preview(tasks=len(times), startup=startup, present=before, changed=after)


def _replayed(policy: str, made: Outcome) -> Replayed:
    return Replayed(
        policy=policy,
        agent_hours=made.agent_hours,
        wait_p50=made.wait_p50,
        wait_p95=made.wait_p95,
        wait_p99=made.wait_p99,
        late_share=made.late_share,
        unserved=made.unserved,
        launches=made.launches,
        peak=made.peak,
        series=tuple(Sample(at=one.at, queued=one.queued, busy=one.busy, agents=one.agents) for one in made.series),
    )
