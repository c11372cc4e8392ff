"""Choosing the strongest level that really works here, by running a command in it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ezaigent.core.errors import SandboxUnavailable, UnavailableError
from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox.bubblewrap import BubblewrapSandbox
from ezaigent.workspaces.sandbox.pids_cgroup import find_parent, sweep
from ezaigent.workspaces.sandbox.ports import Sandbox
from ezaigent.workspaces.sandbox.view import View

_PROBE = "echo works > probe && cat probe"
_PROBE_SECONDS = 20.0


async def detect(settings: SandboxSettings, *, hidden: Sequence[Path] = ()) -> Sandbox:
    """Return the level that ``settings`` ask for, or with ``auto`` the strongest that works.

    ``hidden`` are folders that no command may see even where they lie inside a system folder: the data folder.
    Raises ``SandboxUnavailable`` with one line that says what to do.
    """
    sandbox = await asyncio.to_thread(_bubblewrap, settings, hidden)
    why = await _failure(sandbox)
    if why is None:
        return sandbox
    raise SandboxUnavailable(why)


def _bubblewrap(settings: SandboxSettings, hidden: Sequence[Path]) -> BubblewrapSandbox:
    view = View.of_machine(readable=settings.readable, hidden=hidden, network=settings.network)
    return BubblewrapSandbox(settings, view, groups=_groups())


def _groups() -> Path | None:
    parent = find_parent()
    if parent is not None:
        sweep(parent)
    return parent


async def _failure(sandbox: Sandbox) -> str | None:
    """Run one command; return why this level does not work here, or ``None`` when it does."""
    with tempfile.TemporaryDirectory(prefix="ezaigent-probe-") as folder:
        tree = Path(folder)
        try:
            result = await sandbox.run(_PROBE, cwd=tree, writable=tree, timeout=_PROBE_SECONDS)
        except UnavailableError as error:
            return str(error)
    if result.exit_code == 0 and result.output == "works\n":
        return None
    return f"a trial command ended with code {result.exit_code}"
