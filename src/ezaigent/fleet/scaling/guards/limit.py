"""What a guard answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of agents that must not be passed."""

    name: str
    agents: int
    text: str
    """By what the pool is held, for people."""
    forced: bool = False
    """Whether busy agents above it drain; else only idle ones go."""
    above_min: bool = False
    """Whether it leaves ``min`` alone: it slows growth, and what must be there is put back all the same."""
