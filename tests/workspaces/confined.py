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
from ezaigent.workspaces.sandbox.view import View

_MAKERS: dict[str, Callable[[SandboxSettings, View], Sandbox]] = {
    "bubblewrap": lambda settings, view: BubblewrapSandbox(settings, view, groups=find_parent()),
    # Without a control group: the kernel counts for an ordinary user, the watch for root.
    "bubblewrap-watched": lambda settings, view: BubblewrapSandbox(settings, view, groups=None, seal=False),
    "landlock": lambda settings, view: LandlockSandbox(settings, view, own_network=True),
    # As in a container: no namespaces at all.
    "landlock-bare": lambda settings, view: LandlockSandbox(settings, view, own_network=False),
    # As on Linux 6.2, the oldest that serves.
    "landlock-old": lambda settings, view: LandlockSandbox(settings, view, own_network=False, abi=3),
    "off": lambda settings, view: NoSandbox(settings, view, groups=find_parent()),
}

CONFINED = [name for name in _MAKERS if name != "off"]
EVERY = list(_MAKERS)

_works: dict[str, str | None] = {}


async def build(name: str, settings: SandboxSettings | None = None, *, hidden: tuple[Path, ...] = ()) -> Sandbox:
    """Return the sandbox ``name`` with ``settings``; skip (fail under CI) where it does not work."""
    settings = settings or SandboxSettings(timeout=60)
    view = View.of_machine(readable=settings.readable, hidden=hidden, network=settings.network)
    if name not in _works:
        _works[name] = await failure(_MAKERS[name](SandboxSettings(), view))
    require(_works[name] is None, f"{name} does not work here: {_works[name]}")
    return _MAKERS[name](settings, view)


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
