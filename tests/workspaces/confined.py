"""The sandboxes under test, one for each way in which a level can work on this machine, and a look at what is alive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import require

from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox import Sandbox
from ezaigent.workspaces.sandbox.bubblewrap import BubblewrapSandbox
from ezaigent.workspaces.sandbox.detect import failure
from ezaigent.workspaces.sandbox.landlock import LandlockSandbox
from ezaigent.workspaces.sandbox.off import NoSandbox
from ezaigent.workspaces.sandbox.pids_cgroup import find_parent
from ezaigent.workspaces.sandbox.supervise import PATIENCE
from ezaigent.workspaces.sandbox.view import View

_MAKERS: dict[str, Callable[[SandboxSettings, View, float], Sandbox]] = {
    "bubblewrap": lambda settings, view, patience: BubblewrapSandbox(
        settings, view, groups=find_parent(), patience=patience
    ),
    # Without a control group: the kernel counts for an ordinary user, the watch for root.
    "bubblewrap-watched": lambda settings, view, patience: BubblewrapSandbox(
        settings, view, groups=None, seal=False, patience=patience
    ),
    "landlock": lambda settings, view, patience: LandlockSandbox(
        settings, view, groups=find_parent(), own_network=True, patience=patience
    ),
    # As in a container: no namespaces at all.
    "landlock-bare": lambda settings, view, patience: LandlockSandbox(
        settings, view, groups=None, own_network=False, patience=patience
    ),
    # As on Linux 6.2, the oldest that serves.
    "landlock-old": lambda settings, view, patience: LandlockSandbox(
        settings, view, groups=None, own_network=False, abi=3, patience=patience
    ),
    "off": lambda settings, view, patience: NoSandbox(settings, view, groups=find_parent(), patience=patience),
}

CONFINED = [name for name in _MAKERS if name != "off"]
EVERY = list(_MAKERS)
MAIN = ["bubblewrap", "landlock"]
"""The levels as they are chosen where everything works: the heavy cases run on these."""

_works: dict[str, str | None] = {}


async def build(
    name: str,
    settings: SandboxSettings | None = None,
    *,
    hidden: tuple[Path, ...] = (),
    patience: float = PATIENCE,
) -> Sandbox:
    """Return the sandbox ``name`` with ``settings``; skip (fail under CI) where it does not work.

    ``patience`` is how many seconds a command may stay at its limit of processes.
    """
    settings = settings or SandboxSettings(timeout=60)
    view = View.of_machine(readable=settings.readable, hidden=hidden, network=settings.network)
    if name not in _works:
        _works[name] = await failure(_MAKERS[name](SandboxSettings(), view, PATIENCE))
    require(_works[name] is None, f"{name} does not work here: {_works[name]}")
    return _MAKERS[name](settings, view, patience)


def alive(mark: str) -> list[int]:
    """Return the processes that have ``mark`` in their environment or arguments and are not zombies."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            told = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in told and state not in {"Z", "X"}:
            found.append(int(folder.name))
    return found
