"""The launcher of a fleet in one process: its worker takes every seat."""

from __future__ import annotations

from collections.abc import Sequence

from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.seats import Seat


class InlineLauncher:
    """Starts nothing: the worker of this process has room for any number of agents."""

    lasting = False

    async def ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        """See ``Launcher.ensure``."""

    def hurry(self) -> None:
        """See ``Launcher.hurry``."""

    async def close(self) -> None:
        """See ``Launcher.close``."""
