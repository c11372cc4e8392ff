"""What the room answers with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class RepositoryInfo(_Answer):
    """A repository that tasks can be submitted for."""

    url: str
    """Its path or URL without credentials: what may be stored."""
    default_branch: str | None
    """None when its HEAD is detached."""
    commit: str | None
    """What the base means now; None in a repository without commits, or where only opening it can tell."""
    has_credentials: bool
    """Whether the given URL held a login. It is kept in this process only: other processes need a credential helper."""


class DiskUse(_Answer):
    """Bytes on the disk."""

    mirrors: int
    trees: int
    limit: int
    """``workspaces.max_disk``."""
    free: int
    """Bytes that the file system still has."""

    @property
    def total(self) -> int:
        """What counts against the limit."""
        return self.mirrors + self.trees


class Cleaned(_Answer):
    """What cleaning did."""

    worktrees: int = 0
    """Worktrees removed."""
    refs: int = 0
    """Hidden refs removed."""
    salvaged: tuple[str, ...] = ()
    """Refs on which work that was nowhere else was saved first."""
