"""The policy ``static``: a number of agents that was configured."""

from __future__ import annotations

from ezaigent.core.scaling import PoolScaling
from ezaigent.fleet.scaling.models import PoolSnapshot, PoolState
from ezaigent.fleet.scaling.policies.plan import Plan


def static(_pool: PoolSnapshot, state: PoolState, config: PoolScaling, _at: float) -> Plan:
    """Want the configured ``size``, or ``min`` where none is."""
    if config.size is None:
        return Plan(config.min, state, f"the pool stands at min = {config.min}", cut=True)
    return Plan(config.size, state, f"the pool stands at size = {config.size}", cut=True)
