"""What puts the fleet right by itself: suspects run apart, runs that stand still are ended and moved on."""

from ezaigent.fleet.recovery.apart import Apart

__all__ = ["Apart"]
