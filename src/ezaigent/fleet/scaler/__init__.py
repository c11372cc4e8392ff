"""The live autoscaler: events become facts, facts a snapshot, the pure core decides, seats are ordered."""

from __future__ import annotations

from ezaigent.fleet.leader import LEASE as SCALER_LEASE
from ezaigent.fleet.scaler.control import PoolView, ScalerControl, ScalerView
from ezaigent.fleet.scaler.host import Host
from ezaigent.fleet.scaler.overrides import InForce
from ezaigent.fleet.scaler.pools import Catalog
from ezaigent.fleet.scaler.previewing import Preview
from ezaigent.fleet.scaler.recording import Recorded
from ezaigent.fleet.scaler.scaler import Scaler
from ezaigent.fleet.scaler.series import Series

__all__ = [
    "SCALER_LEASE",
    "Catalog",
    "Host",
    "InForce",
    "PoolView",
    "Preview",
    "Recorded",
    "Scaler",
    "ScalerControl",
    "ScalerView",
    "Series",
]
