"""Workers and what they host: claims become runs, runs become changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.roster import AgentView, Roster, profile_of
from ezaigent.fleet.views import CheckView, TaskView, UsageView

if TYPE_CHECKING:
    from ezaigent.fleet.conduct import Conductor
    from ezaigent.fleet.hosting import Hosting
    from ezaigent.fleet.peers import Peers
    from ezaigent.fleet.upkeep import clean_forever
    from ezaigent.fleet.worker import Worker

__all__ = [
    "AgentView",
    "CheckView",
    "Conductor",
    "Hosting",
    "Peers",
    "Roster",
    "TaskView",
    "UsageView",
    "Worker",
    "WorkerInfo",
    "clean_forever",
    "profile_of",
]


_LATER = {"Conductor": "conduct", "Hosting": "hosting", "Peers": "peers", "Worker": "worker", "clean_forever": "upkeep"}


def __getattr__(name: str) -> object:
    """Load what runs agents only when it is asked for: a listing needs none of it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
