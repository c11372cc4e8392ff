"""Running commands confined: bubblewrap, else Landlock, else not at all unless the operator says so."""

from ezaigent.workspaces.sandbox.detect import detect
from ezaigent.workspaces.sandbox.ports import CommandResult, Level, LimitName, OnOutput, Sandbox

__all__ = ["CommandResult", "Level", "LimitName", "OnOutput", "Sandbox", "detect"]
