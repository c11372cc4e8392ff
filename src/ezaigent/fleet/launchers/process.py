"""Workers as child processes of this one: they end with it, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from ezaigent.core.errors import LauncherError
from ezaigent.fleet.models import WorkerInfo

PARENT: Final = "EZAIGENT_PARENT_PID"
"""Variable that tells a child whose child it is."""
_PR_SET_PDEATHSIG: Final = 1
_LOOK: Final = 1.0


class ProcessSite:
    """Starts ``command`` for each worker; ``{room}`` in it becomes the number of agents that it may host.

    A child has a session of its own: Ctrl-C in the terminal reaches this process alone, which passes on what it means.
    """

    kind = "process"
    lasting = False

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """``environment`` is added to that of this process."""
        self._command = tuple(command)
        self._environment = dict(environment or {})
        self._children: dict[str, asyncio.subprocess.Process] = {}

    async def running(self) -> set[str]:
        """See ``Site.running``."""
        self._children = {name: child for name, child in self._children.items() if child.returncode is None}
        return set(self._children)

    def pid(self, name: str) -> int:
        """Return the process id of a worker."""
        return self._children[name].pid

    async def start(self, name: str, room: int) -> None:
        """See ``Site.start``."""
        words = [word.replace("{room}", str(room)) for word in self._command]
        try:
            self._children[name] = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self._environment, PARENT: str(os.getpid())},
                start_new_session=True,
            )
        except OSError as error:
            raise LauncherError(f"a worker process cannot be started: {error.strerror} ({words[0]})") from None

    async def stop(self, name: str) -> None:
        """See ``Site.stop``."""
        self._send(name, signal.SIGTERM)

    async def kill(self, name: str) -> None:
        """See ``Site.kill``."""
        self._send(name, signal.SIGKILL)
        await self._children[name].wait()

    def is_it(self, name: str, worker: WorkerInfo) -> bool:
        """See ``Site.is_it``."""
        child = self._children.get(name)
        return child is not None and worker.pid == child.pid and worker.host == socket.gethostname()

    def hurry(self) -> None:
        """See ``Site.hurry``: the second SIGTERM of a worker means now."""
        for name in self._children:
            self._send(name, signal.SIGTERM)

    async def close(self, *, patience: float) -> None:
        """See ``Site.close``."""
        for name in await self.running():
            self._send(name, signal.SIGTERM)
        waits = [asyncio.create_task(child.wait()) for child in self._children.values()]
        if not waits:
            return
        try:
            await asyncio.wait(waits, timeout=patience)
        finally:
            for name in self._children:
                self._send(name, signal.SIGKILL)
            await asyncio.wait(waits)
            self._children.clear()

    def _send(self, name: str, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, KeyError):
            self._children[name].send_signal(number)


def die_with(parent: int) -> None:
    """Let the kernel end this process when ``parent`` does, so that no worker goes on spending without its master.

    What it worked on is journaled: another worker goes on with it. Raises ``ProcessLookupError`` where the parent has
    ended already.
    """
    if os.getppid() == parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise ProcessLookupError(parent)


async def until_orphaned(parent: int) -> None:
    """Return when ``parent`` has ended: for systems whose kernel does not tell."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(_LOOK)
