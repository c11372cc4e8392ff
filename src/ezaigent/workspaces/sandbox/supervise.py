"""Starting one sandboxed command, reading its output, and ending it with everything it started.

Every level speaks the same small protocol with its starter (bubblewrap, or this package's launcher):

1. the starter writes ``{"child-pid": N}`` to the status pipe and waits at the gate;
2. the worker sets limits on process N and opens the gate, which is also the command's first standard input, by
   writing ``PASS`` to it; where the gate closes without it (the worker died), the command must not begin;
3. the starter runs the command, and writes ``{"exit-code": N}`` when it ended by itself.

No exit code and no kill of ours means that the sandbox itself broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.workspaces.sandbox.exits import Exit, settle
from ezaigent.workspaces.sandbox.limits import Limits
from ezaigent.workspaces.sandbox.output import BoundedOutput
from ezaigent.workspaces.sandbox.pids_cgroup import PidsGroup
from ezaigent.workspaces.sandbox.ports import CommandResult, LimitName, OnOutput
from ezaigent.workspaces.sandbox.watch import descendants, usage

PASS = b"1go\n"
"""One byte for bubblewrap's own gate, a line for the shell behind it: that gate takes a dead worker for an open one."""

TIMED_OUT = 124
KILLED = 128 + signal.SIGKILL
_FILE_TOO_LARGE = 128 + signal.SIGXFSZ
_CHUNK = 65536
_GRACE = 5.0  # seconds for a launcher to end its command before it is killed itself
_UNKILLABLE = 15.0  # seconds after which a process stuck in the kernel is no longer waited for
_WATCH_FAST = 0.1  # seconds between looks where only the watch bounds the processes
_WATCH_ALERT = 0.02  # ... of a command that has just begun or uses much: 10,000 processes can come in a second
_CHILDHOOD = 0.5  # seconds for which a command has just begun
_WATCH_SLOW = 0.5
_STARTERS = 2  # processes of the sandbox itself among those counted
PATIENCE = 5.0
"""Seconds at the very limit of processes before a command counts as a fork bomb."""


@contextlib.contextmanager
def readable_pipe(content: bytes) -> Generator[int]:
    """Give a file descriptor from which a starter reads ``content`` (less than a pipe holds)."""
    read, write = os.pipe()
    try:
        os.write(write, content)
        os.close(write)
        yield read
    finally:
        os.close(read)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a level wants its commands supervised."""

    counts: bool
    """Whether new processes are refused at the limit; else the watch ends a command that passes it."""
    own_user_namespace: bool
    """Whether the kernel can count the processes of this command alone."""
    ends_with_starter: bool
    """Whether killing the starter kills everything (a PID namespace); else the starter is asked by closing the gate."""
    groups: Path | None
    """Where a pids control group can be made."""
    patience: float = PATIENCE
    """Seconds at the very limit of processes before a command is ended."""


class Supervised:
    """One command from start to end."""

    def __init__(self, limits: Limits, rules: Rules, on_output: OnOutput | None) -> None:
        """Prepare; nothing is started yet."""
        self._limits = limits
        self._rules = rules
        self._output = BoundedOutput(limits.output, on_output)
        self._stopped_by: LimitName | None = None
        self._stopping = False
        self._broken: BaseException | None = None
        self._status = bytearray()
        self._fds: set[int] = set()
        self._group: PidsGroup | None = None
        self._group_was_full = False
        self._exit: Exit | None = None
        self._init: Exit | None = None
        self._opening: asyncio.Task[None] | None = None
        self._last_resort: asyncio.TimerHandle | None = None

    async def run(self, argv: Callable[[int, int], Sequence[str]], inherit: Sequence[int] = ()) -> CommandResult:
        """Start ``argv(status, gate)``, given the numbers of the two pipes, and stay with it to its end."""
        self._loop = asyncio.get_running_loop()
        began = time.monotonic()
        try:
            self._exit = self._start(argv, inherit)
            await self._to_the_end(self._exit)
        finally:
            self._release()
        if self._broken is not None:
            raise self._broken
        return self._result(time.monotonic() - began)

    # ---- start -------------------------------------------------------------------------------------------------

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._fds.update(ends)
        return ends

    def _close(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.discard(fd)
            os.close(fd)

    def _start(self, argv: Callable[[int, int], Sequence[str]], inherit: Sequence[int]) -> Exit:
        self._out, out = self._pipe()
        self._status_fd, status = self._pipe()
        gate, self._gate = self._pipe()
        if self._rules.groups is not None:
            with contextlib.suppress(OSError):  # the watch counts in its place
                self._group = PidsGroup.make(self._rules.groups, self._limits.processes)
        try:
            self._process = subprocess.Popen(
                argv(status, gate),
                stdin=gate,
                stdout=out,
                stderr=out,
                env={},
                cwd="/",
                pass_fds=(status, gate, *inherit),
                start_new_session=True,  # Ctrl-C at the terminal is the worker's business
            )
        except OSError as error:
            raise UnavailableError(
                f"cannot start {argv(status, gate)[0]!r}: {error.strerror}; see `ezaigent doctor`"
            ) from None
        except ValueError:
            raise UsageError("the command holds a NUL character, which no shell can take: leave it out") from None
        for fd in (out, status, gate):
            self._close(fd)
        ended = Exit(self._loop, self._process.pid, self._process.wait)
        for fd, ready in ((self._out, self._read_output), (self._status_fd, self._read_status)):
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, ready)
        return ended

    def _release(self) -> None:
        for fd in list(self._fds):
            self._loop.remove_reader(fd)
            self._close(fd)
        for watched in (self._exit, self._init):
            if watched is not None:
                watched.close()
        if self._group is not None:
            self._group_was_full = self._group.was_full()
            self._group.remove()

    # ---- events ------------------------------------------------------------------------------------------------

    def _read_output(self) -> bool:
        """Take one chunk; return whether there was one."""
        try:
            chunk = os.read(self._out, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._out)
            return False
        try:
            self._output.feed(chunk)
        except Exception as error:  # noqa: BLE001  (the caller's callback failed: end the command, raise it from run)
            self._break(error)
        if self._output.flooded:
            self._stop("output")
        return True

    def _read_status(self) -> None:
        try:
            chunk = os.read(self._status_fd, _CHUNK)
        except BlockingIOError:
            return
        self._status += chunk
        if not chunk:
            self._loop.remove_reader(self._status_fd)
        elif self._init is None and (pid := self._told("child-pid")) is not None:
            self._init = Exit(self._loop, pid, None)
            if self._stopping:
                self._kill()
            else:
                self._opening = self._loop.create_task(self._open_gate(pid))

    def _told(self, key: str) -> int | None:
        for line in bytes(self._status).split(b"\n"):
            with contextlib.suppress(ValueError):
                told = json.loads(line).get(key)
                if told is not None:
                    return int(told)
        return None

    async def _open_gate(self, pid: int) -> None:
        """Limit the process at the gate, then let it through."""
        try:
            if self._group is not None:
                await asyncio.to_thread(self._group.add, pid)  # the kernel takes some 10 ms over it
            self._limits.apply(pid, count_processes=self._rules.own_user_namespace)
            if self._gate in self._fds:
                os.write(self._gate, PASS)
        except OSError as error:
            if not self._stopping:
                said = f"the limits of a command cannot be set: {error.strerror}; see `ezaigent doctor`"
                self._break(UnavailableError(said))

    def _break(self, error: BaseException) -> None:
        if self._broken is None:
            self._broken = error
        self._kill()

    def _stop(self, limit: LimitName) -> None:
        if not self._stopping and self._process.returncode is None:
            self._stopped_by = limit
            self._kill()

    def _kill(self) -> None:
        self._stopping = True
        if self._rules.ends_with_starter:
            # The starter alone is not enough: while it sets up the namespaces, they would outlive it. Its first
            # process is in its process group until it is known by number.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            if self._init is not None:
                self._init.kill()
        elif self._process.returncode is None and self._last_resort is None:
            self._close(self._gate)
            self._last_resort = self._loop.call_later(_GRACE, self._kill_starter)

    def _kill_starter(self) -> None:
        """Last resort against a launcher that does not do its work."""
        for pid in [*descendants(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- end ---------------------------------------------------------------------------------------------------

    async def _to_the_end(self, ended: Exit) -> None:
        timer = self._loop.call_later(self._limits.seconds, self._stop, "time")
        watch = self._loop.create_task(self._watch())
        try:
            await asyncio.wait({ended.future})
        except asyncio.CancelledError:
            self._kill()
            await settle(ended.future, _UNKILLABLE)
            raise
        finally:
            timer.cancel()
            watch.cancel()
            if self._last_resort is not None:
                self._last_resort.cancel()
            await self._gone()

    async def _gone(self) -> None:
        """Wait until the last process of the command is dead, and take what is left in the pipe."""
        self._read_status()
        if self._opening is not None:
            await settle(self._opening, _UNKILLABLE)
        if self._init is not None:
            await settle(self._init.future, _UNKILLABLE)
        # What one pipe holds is all that can be left; a stranger that keeps the pipe open is not waited for.
        for _ in range(1 + (1 << 20) // _CHUNK):
            if not self._read_output():
                break
        with contextlib.suppress(Exception):
            self._output.close()

    async def _watch(self) -> None:
        """Look at what the command uses, seldom where new processes are refused at the limit anyway."""
        limit = self._limits.processes
        began = at_limit_since = time.monotonic()
        tasks = 0
        while True:
            alert = time.monotonic() - began < _CHILDHOOD or tasks > limit // 4
            await asyncio.sleep(_WATCH_SLOW if self._rules.counts else _WATCH_FAST if not alert else _WATCH_ALERT)
            now = usage(self._process.pid, enough=limit + _STARTERS)
            tasks = now.tasks
            # Where new processes are refused, a fork bomb lives on at the limit: it ends here.
            if tasks < limit:
                at_limit_since = time.monotonic()
            bursting = tasks > limit + _STARTERS and not self._rules.counts
            if bursting or time.monotonic() - at_limit_since > self._rules.patience:
                self._stop("processes")
            elif now.resident > self._limits.resident:
                self._stop("memory")

    def _result(self, seconds: float) -> CommandResult:
        code = self._told("exit-code")
        limit = self._stopped_by
        if limit is not None:
            code = TIMED_OUT if limit == "time" else KILLED
        elif code is None:
            raise UnavailableError(self._why_broken())
        elif code == _FILE_TOO_LARGE:
            limit = "file_size"
        elif code != 0 and self._group_was_full:
            limit = "processes"
        return CommandResult(
            exit_code=code,
            output=self._output.text(),
            truncated=self._output.dropped > 0,
            timed_out=limit == "time",
            seconds=seconds,
            limit=limit,
        )

    def _why_broken(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            said = f"it was ended from outside by signal {-code}"
        else:
            lines = self._output.text().strip().splitlines()
            said = lines[-1][:200] if lines else f"it ended with code {code}"
        return f"the sandbox itself failed: {said}; see `ezaigent doctor`"
