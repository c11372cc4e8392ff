"""Workspaces: repositories, a worktree per task, the sandbox that commands run in, checks, branches handed back."""

from ezaigent.workspaces.git import Git
from ezaigent.workspaces.guarding import Guard, Pin, pin
from ezaigent.workspaces.models import Cleaned, DiskUse, RepositoryInfo
from ezaigent.workspaces.remotes import check_repository
from ezaigent.workspaces.repository import Repository
from ezaigent.workspaces.sandbox import CommandResult, Level, OnOutput, Sandbox, detect
from ezaigent.workspaces.scope import outside
from ezaigent.workspaces.service import Workspaces
from ezaigent.workspaces.worktree import Workspace

__all__ = [
    "Cleaned",
    "CommandResult",
    "DiskUse",
    "Git",
    "Guard",
    "Level",
    "OnOutput",
    "Pin",
    "Repository",
    "RepositoryInfo",
    "Sandbox",
    "Workspace",
    "Workspaces",
    "check_repository",
    "detect",
    "outside",
    "pin",
]
