"""What the fleet says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict


class Parked(BaseModel):
    """Why a worker's agents of a profile take no task: quota or money of all its models is used up."""

    model_config = ConfigDict(frozen=True)

    reason: str
    until: float | None
    """When one of them finds out whether a model answers again, seconds since 1970; None: one does now, or may."""

    @property
    def words(self) -> str:
        """The same as one line for people."""
        if self.until is None:
            return f"{self.reason}; the next task finds out whether that is still so"
        return f"{self.reason}; asked again at {datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M:%S} UTC"


class WorkerInfo(BaseModel):
    """A worker process, as it announces itself."""

    model_config = ConfigDict(frozen=True)

    id: str
    host: str
    pid: int
    version: str
    sandbox: str
    """Sandbox level really in force."""
    agents: tuple[str, ...] = ()
    exclusive: bool = False
    """Whether it works only tasks of its own and takes none from the queue."""
    hosts: tuple[str, ...] = ()
    """Profiles whose seats it adopts; empty: it keeps to the agents that it was asked for."""
    room: int | None = None
    """Agents that it can host in all; None: any number."""
    lease: float = 30.0
    """Seconds for which its runs are its own without a word; it says something every third of that."""
    parked: dict[str, Parked] = {}
    """Profiles whose agents take no task now."""
    seen_at: float | None = None
    """Last heartbeat, database time."""

    @property
    def free(self) -> int | None:
        """How many agents it could host in addition; None: any number."""
        if not self.hosts:
            return 0
        return None if self.room is None else max(0, self.room - len(self.agents))
