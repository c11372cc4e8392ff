"""Choosing the strongest level that really works here, by running a command in it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ezaigent.core.errors import SandboxUnavailable, UnavailableError
from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox import launched, pids_cgroup
from ezaigent.workspaces.sandbox.bubblewrap import BubblewrapSandbox
from ezaigent.workspaces.sandbox.landlock import LandlockSandbox
from ezaigent.workspaces.sandbox.off import NoSandbox
from ezaigent.workspaces.sandbox.ports import Level, Sandbox
from ezaigent.workspaces.sandbox.view import View

_PROBE = "echo works > probe && cat probe"
_PROBE_SECONDS = 20.0


async def detect(settings: SandboxSettings, *, hidden: Sequence[Path] = ()) -> Sandbox:
    """Return the level that ``settings`` ask for, or with ``auto`` the strongest that works.

    A level counts as working when a command ran in it: bubblewrap, for one, may be installed in a container and not be
    allowed to start. ``hidden`` are folders that no command may see even where they lie inside a system folder: the
    data folder. Raises ``SandboxUnavailable`` with one line that says what to do.
    """
    view, groups = await asyncio.to_thread(_look, settings, hidden)
    if settings.level == "off":
        return NoSandbox(settings, view, groups=groups)
    reasons: dict[Level, str] = {}
    for level, make in _ladder(settings, view, groups):
        if settings.level not in {"auto", level}:
            continue
        sandbox = await asyncio.to_thread(make)
        why = await failure(sandbox)
        if why is None:
            return sandbox
        reasons[level] = why  # the last of a level's variants is the one that asks for least
    told = "; ".join(f"{level}: {why}" for level, why in reasons.items())
    raise SandboxUnavailable(
        f"no sandbox works here ({told}): install bubblewrap, use a kernel with Landlock (Linux 6.2 or newer), "
        'or set sandbox.level = "off" to run commands unconfined'
    )


def _look(settings: SandboxSettings, hidden: Sequence[Path]) -> tuple[View, Path | None]:
    launched.sweep()
    groups = pids_cgroup.find_parent()
    if groups is not None:
        pids_cgroup.sweep(groups)
    return View.of_machine(readable=settings.readable, hidden=hidden, network=settings.network), groups


def _ladder(
    settings: SandboxSettings, view: View, groups: Path | None
) -> Iterator[tuple[Level, Callable[[], Sandbox]]]:
    """Yield what to try, strongest first; the variants of a level serve older programs and tighter containers."""
    yield "bubblewrap", lambda: BubblewrapSandbox(settings, view, groups=groups)
    yield "bubblewrap", lambda: BubblewrapSandbox(settings, view, groups=groups, seal=False)
    yield "landlock", lambda: LandlockSandbox(settings, view, groups=groups, own_network=True)
    yield "landlock", lambda: LandlockSandbox(settings, view, groups=groups, own_network=False)


async def failure(sandbox: Sandbox) -> str | None:
    """Run one command in ``sandbox``; return why this level does not work here, or ``None`` when it does."""
    with tempfile.TemporaryDirectory(prefix="ezaigent-probe-") as folder:
        tree = Path(folder)
        try:
            result = await sandbox.run(_PROBE, cwd=tree, writable=tree, timeout=_PROBE_SECONDS)
        except UnavailableError as error:
            return str(error).removesuffix("; see `ezaigent doctor`")
    if result.exit_code == 0 and result.output == "works\n":
        return None
    return f"a trial command ended with code {result.exit_code}"
