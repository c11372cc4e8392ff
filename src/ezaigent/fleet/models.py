"""What the fleet says of itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
    seen_at: float | None = None
    """Last heartbeat, database time."""

    @property
    def free(self) -> int | None:
        """How many agents it could host in addition; None: any number."""
        if not self.hosts:
            return 0
        return None if self.room is None else max(0, self.room - len(self.agents))
