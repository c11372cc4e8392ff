"""The offline profile ``mechanic``: maintenance recipes with real tools, no model, no tokens."""

from ezaigent.agents.mechanic.model import MechanicModel

__all__ = ["MechanicModel"]
