"""How many agents a pool should have: the autoscaler's pure core, and a simulation that runs it."""

from __future__ import annotations

from ezaigent.core.scaling import PoolFields, PoolScaling, ScalingSettings
from ezaigent.fleet.scaling.decide import decide
from ezaigent.fleet.scaling.models import (
    Ceilings,
    Decision,
    Finish,
    FleetSnapshot,
    Leaving,
    Orders,
    PolicyState,
    PoolDecision,
    PoolSnapshot,
    PoolState,
    Seat,
    Spending,
    Start,
)

__all__ = [
    "Ceilings",
    "Decision",
    "Finish",
    "FleetSnapshot",
    "Leaving",
    "Orders",
    "PolicyState",
    "PoolDecision",
    "PoolFields",
    "PoolScaling",
    "PoolSnapshot",
    "PoolState",
    "ScalingSettings",
    "Seat",
    "Spending",
    "Start",
    "decide",
]
