"""Workers and what they host: claims become runs, runs become changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.roster import AgentView, Roster, Status, profile_of
from ezaigent.fleet.seats import DRAINED, Seat, leave
from ezaigent.fleet.views import CheckView, TaskView, UsageView

if TYPE_CHECKING:
    from ezaigent.fleet.conduct import Conductor
    from ezaigent.fleet.crew import Crew
    from ezaigent.fleet.hosting import Hosting
    from ezaigent.fleet.launchers import InlineLauncher, Launcher, PackedLauncher, Patience
    from ezaigent.fleet.launchers.docker import DockerSite
    from ezaigent.fleet.launchers.kubernetes import ACCOUNT, KubernetesLauncher
    from ezaigent.fleet.launchers.process import PARENT, ProcessSite, die_with, until_orphaned
    from ezaigent.fleet.leader import Election, Term, hold, recalled, remember
    from ezaigent.fleet.peers import Peers
    from ezaigent.fleet.recovery.apart import Apart
    from ezaigent.fleet.recovery.watch import watch
    from ezaigent.fleet.scaler import (
        SCALER_LEASE,
        Catalog,
        Host,
        InForce,
        PoolView,
        Preview,
        Recorded,
        Scaler,
        ScalerControl,
        ScalerView,
        Series,
    )
    from ezaigent.fleet.scaling.outcome import Outcome
    from ezaigent.fleet.scaling.traces import Trace, read_trace, replay_trace
    from ezaigent.fleet.upkeep import clean_forever
    from ezaigent.fleet.worker import Worker

__all__ = [
    "ACCOUNT",
    "DRAINED",
    "PARENT",
    "SCALER_LEASE",
    "AgentView",
    "Apart",
    "Catalog",
    "CheckView",
    "Conductor",
    "Crew",
    "DockerSite",
    "Election",
    "Host",
    "Hosting",
    "InForce",
    "InlineLauncher",
    "KubernetesLauncher",
    "Launcher",
    "Outcome",
    "PackedLauncher",
    "Patience",
    "Peers",
    "PoolView",
    "Preview",
    "ProcessSite",
    "Recorded",
    "Roster",
    "Scaler",
    "ScalerControl",
    "ScalerView",
    "Seat",
    "Series",
    "Status",
    "TaskView",
    "Term",
    "Trace",
    "UsageView",
    "Worker",
    "WorkerInfo",
    "clean_forever",
    "die_with",
    "hold",
    "leave",
    "profile_of",
    "read_trace",
    "recalled",
    "remember",
    "replay_trace",
    "until_orphaned",
    "watch",
]


_LATER = {
    "ACCOUNT": "launchers.kubernetes",
    "PARENT": "launchers.process",
    "SCALER_LEASE": "scaler",
    "Apart": "recovery.apart",
    "Catalog": "scaler",
    "Conductor": "conduct",
    "Crew": "crew",
    "DockerSite": "launchers.docker",
    "Election": "leader",
    "Host": "scaler",
    "Hosting": "hosting",
    "InForce": "scaler",
    "InlineLauncher": "launchers",
    "KubernetesLauncher": "launchers.kubernetes",
    "Launcher": "launchers",
    "Outcome": "scaling.outcome",
    "PackedLauncher": "launchers",
    "Patience": "launchers",
    "Peers": "peers",
    "ProcessSite": "launchers.process",
    "PoolView": "scaler",
    "Preview": "scaler",
    "Recorded": "scaler",
    "Scaler": "scaler",
    "ScalerControl": "scaler",
    "ScalerView": "scaler",
    "Series": "scaler",
    "Term": "leader",
    "Trace": "scaling.traces",
    "Worker": "worker",
    "clean_forever": "upkeep",
    "die_with": "launchers.process",
    "hold": "leader",
    "read_trace": "scaling.traces",
    "recalled": "leader",
    "remember": "leader",
    "replay_trace": "scaling.traces",
    "until_orphaned": "launchers.process",
    "watch": "recovery.watch",
}


def __getattr__(name: str) -> object:
    """Load what runs agents only when it is asked for: a listing needs none of it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
