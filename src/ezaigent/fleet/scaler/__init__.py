"""The live autoscaler: events become facts, facts a snapshot, the pure core decides, seats are ordered."""

from __future__ import annotations
