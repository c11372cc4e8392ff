"""What a launcher is, and what it needs where it starts workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ezaigent.fleet.models import WorkerInfo
from ezaigent.fleet.seats import Seat


class Launcher(Protocol):
    """Starts and stops workers so that every seat finds one. It never decides how many agents there are."""

    @property
    def lasting(self) -> bool:
        """Whether the workers outlive this process."""
        ...

    async def ensure(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo]) -> None:
        """Compare the seats with the living ``workers``, and start or stop some; returns before they have started.

        Call it every second or two and after each change. What goes wrong is told as an event and tried again later;
        nothing is raised for it.
        """
        ...

    def hurry(self) -> None:
        """Let what ``close`` waits for give its tasks back and end now."""
        ...

    async def close(self) -> None:
        """Let go. Processes of this machine are stopped in order first; containers and pods stay."""
        ...


class Site(Protocol):
    """A place where single workers can be started under a name. Methods raise ``LauncherError`` when it refuses."""

    kind: str
    """Its name in events: process, docker."""
    lasting: bool
    """Whether the workers outlive this process."""

    async def running(self) -> set[str]:
        """Return the names of the workers that run, those of an earlier launcher included."""
        ...

    async def start(self, name: str, room: int) -> None:
        """Start a worker for up to ``room`` agents."""
        ...

    async def stop(self, name: str) -> None:
        """Ask a worker to end in order; returns at once."""
        ...

    async def kill(self, name: str) -> None:
        """End a worker that does not answer."""
        ...

    def is_it(self, name: str, worker: WorkerInfo) -> bool:
        """Return whether the worker that announced itself is the one that was started as ``name``."""
        ...

    def hurry(self) -> None:
        """Ask what must not outlive this process to give its tasks back and end now."""
        ...

    async def close(self, *, patience: float) -> None:
        """Let go; whatever must not outlive this process is stopped, and killed after ``patience`` seconds."""
        ...
