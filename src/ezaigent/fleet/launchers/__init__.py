"""Launchers see to it that there are workers for all seats: in this process, as processes, containers or pods."""

from ezaigent.fleet.launchers.inline import InlineLauncher
from ezaigent.fleet.launchers.packed import PackedLauncher, Patience
from ezaigent.fleet.launchers.ports import Launcher, Site

__all__ = ["InlineLauncher", "Launcher", "PackedLauncher", "Patience", "Site"]
