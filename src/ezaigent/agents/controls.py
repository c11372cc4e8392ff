"""The levers on one running agent: pause, resume, cancel, drain. They act between its steps; some also at once."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from ezaigent.agents.progress import Progress
from ezaigent.core.errors import Cancelled, ControlSignal, Drained, StaleFence, Stalled


class Controls:
    """What the outside may do to one run, and the gate through which the run passes before each step.

    The levers may be pulled from any coroutine of the run's event loop, before, during or after the run; pulling one
    twice changes nothing.
    """

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._signal: ControlSignal | None = None
        self._task: asyncio.Task[object] | None = None
        self._interrupted = False
        self.passed_pause = False
        """Whether the run waited in the gate since this was last set to false: news may have come meanwhile."""
        self.progress = Progress()
        """What the run does now."""

    def pause(self) -> None:
        """Hold the run before its next step; a step that has begun is finished first."""
        if self._signal is None:
            self._open.clear()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._open.set()

    def cancel(self, reason: str = "a person cancelled the task") -> None:
        """Stop the run for good and at once: a running command or model call is ended too."""
        self._stop(Cancelled(reason), now=True)

    def drain(self, reason: str = "the worker stops", *, now: bool = False) -> None:
        """Stop the run before its next step, so that it can be resumed elsewhere; ``now`` does not await the step."""
        self._stop(Drained(reason), now=now)

    def stall(self, reason: str) -> None:
        """Stop the run at once because it stands still: its task is moved on."""
        self._stop(Stalled(reason), now=True)

    def lose(self, reason: str = "another run owns the task now") -> None:
        """Stop the run at once, without another write: its lease is gone."""
        self._stop(StaleFence(reason), now=True)

    @property
    def paused(self) -> bool:
        """Whether the run is held, or will be before its next step."""
        return not self._open.is_set()

    @property
    def stopping(self) -> ControlSignal | None:
        """The signal that ends, or has ended, the run; None while it may go on."""
        return self._signal

    async def gate(self) -> None:
        """Wait while the run is paused; raise the signal that ends it, if there is one."""
        if not self._open.is_set():
            await self._open.wait()
            self.passed_pause = True
        if self._signal is not None:
            raise self._signal

    @contextmanager
    def running(self) -> Generator[None]:
        """Let a stop that cannot wait interrupt the current asyncio task while the block runs.

        The interruption leaves the outermost block as the control signal; a run that is to stop already does not enter
        it. A cancellation from anywhere else passes unchanged. Blocks of one coroutine may lie in each other.
        """
        task = asyncio.current_task()
        if task is not None and self._task is task:
            yield
            return
        if task is None or self._task is not None:
            raise RuntimeError("the controls of one run belong to one coroutine at a time")
        if self._signal is not None:
            raise self._signal
        self._task, self._interrupted = task, False
        before = task.cancelling()
        try:
            yield
        except asyncio.CancelledError:
            if self._signal is not None and self._interrupted and task.uncancel() <= before:
                raise self._signal from None
            raise
        finally:
            self._task = None

    def _stop(self, signal: ControlSignal, *, now: bool) -> None:
        # A drain that turns into a cancel, or a lost lease, must win: later signals are never milder in effect.
        if self._signal is None or isinstance(self._signal, Drained | Stalled):
            self._signal = signal
        self._open.set()
        if now and self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()
