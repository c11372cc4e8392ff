"""Conduct a suspect in a process of its own, under the eyes of its worker: if that dies, the task was the reason.

A worker that is killed takes all its tasks along, and none of them need be the reason: so a death counts only where
the task was alone, and whoever watched it lived on. The worker keeps the lease and passes on what people decide; the
process ends with its worker, because its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import structlog

from ezaigent.agents import Blocked, Controls
from ezaigent.core.errors import Cancelled, ControlSignal, Drained, StaleFence
from ezaigent.fleet.conduct import Conductor
from ezaigent.fleet.recovery.ladder import Elsewhere
from ezaigent.tasks import Claim, TaskQueue

log = structlog.get_logger(__name__)

_LOOK: Final = 0.1
"""Seconds between two looks at the levers of the run."""
_END: Final = 8.0
"""Seconds that the process gets to end once it was told to."""
_ASKED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals by which somebody ends a process in order: they say nothing against the task."""


class Apart:
    """Conducts runs: suspects in a process of their own, all others in this one."""

    def __init__(self, conductor: Conductor, queue: TaskQueue, command: Sequence[str], order: bytes) -> None:
        """``command`` reads ``order``, a line, and the claim, a line; then one word a line until its input ends."""
        self._conductor = conductor
        self._queue = queue
        self._command = command
        self._order = order

    @property
    def elsewhere(self) -> Elsewhere:
        """Tasks that this worker leaves to the others for a while."""
        return self._conductor.elsewhere

    def blocked(self, profile: str) -> Blocked | None:
        """See ``Conductor.blocked``."""
        return self._conductor.blocked(profile)

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """See ``Conductor.hear``: what a process for one task found out comes back this way, too."""
        self._conductor.hear(kind, data)

    async def conduct(self, claim: Claim, controls: Controls) -> None:
        """Run ``claim`` to its end, as ``Conductor.conduct``."""
        if not claim.alone:
            await self._conductor.conduct(claim, controls)
            return
        with controls.progress.doing("process of its own"):
            await self._watch_over(claim, controls)

    async def _watch_over(self, claim: Claim, controls: Controls) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=DEVNULL, start_new_session=True
        )
        try:
            await _say(process, self._order, orjson.dumps(claim.model_dump(mode="json")))
            try:
                with controls.running():
                    code = await _attend(process, controls)
            except ControlSignal as stop:
                await _say(process, _word(stop))
                code = await _ended(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if code:
            with contextlib.suppress(StaleFence):
                await self._judge(claim, code, controls)

    async def _judge(self, claim: Claim, code: int, controls: Controls) -> None:
        if controls.stopping is not None or -code in _ASKED:
            await self._queue.release(claim, "its process was stopped")
        elif code < 0:
            name = signal.Signals(-code).name
            reason = (
                f"quarantined: {claim.task.crashes} workers in a row died under it, and then the process in which it "
                f"ran alone, by {name}; what it did is kept, change it and retry it"
            )
            log.error("a task brings down what it runs in", task=claim.task.id, by=name)
            await self._queue.quarantine(claim, reason)
        else:
            reason = f"the process for it alone ended with exit code {code}; see the worker's log"
            await self._queue.fail(claim, reason, retryable=True)


async def _attend(process: Process, controls: Controls) -> int:
    """Pass on the levers until the process has ended; return its exit code, negative for a signal."""
    paused = False
    while process.returncode is None:
        if controls.paused != paused:
            paused = controls.paused
            await _say(process, b"pause" if paused else b"resume")
        if controls.stopping is not None:
            await _say(process, _word(controls.stopping, gently=True))
            return await process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await process.wait()
    return process.returncode


async def _ended(process: Process) -> int:
    """Return the exit code of a process that was told to end, which is ended where it does not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END):
            return await process.wait()
    return -signal.SIGTERM


def _word(stop: ControlSignal, *, gently: bool = False) -> bytes:
    if isinstance(stop, Drained):
        return b"drain" if gently else b"drain now"
    return b"cancel" if isinstance(stop, Cancelled) else b"lose"


async def _say(process: Process, *lines: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.writelines(line + b"\n" for line in lines)
        await process.stdin.drain()
