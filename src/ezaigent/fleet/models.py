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
    seen_at: float | None = None
    """Last heartbeat, database time."""
