"""One server process: start, stop, kill, freeze; and the list of children that tests may leave running."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

_READY = 20.0  # seconds that a server may take to answer on a machine that runs many tests at once
_known: set[int] = set()
_HEIR = """
read -r ended && exit 0
all="$0 $(cat /proc/$0/task/*/children)"
kill -CONT $all; kill -QUIT "$0"
for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$0" || exit 0; sleep 0.2; done
kill -KILL $all
"""
"""What ends a server when nobody is left to: its input ends without a word when the tests were killed."""


class ServiceMissing(RuntimeError):
    """The machine has no such server; the text says which and why."""


def free_port() -> int:
    """Return a loopback port that nothing listens on, outside the range that the kernel hands out by itself.

    A restarted server must get its port again, so it may not be one that an outgoing connection can take.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Process:
    """A child process that is a server, with its whole family of processes."""

    def __init__(self, log: Path) -> None:
        """Write what the server prints to ``log``."""
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._heir: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._popen is None:
            raise RuntimeError("the server is not running: call start() first")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def start(
        self,
        command: Sequence[str],
        ready: Callable[[], bool],
        *,
        env: Mapping[str, str] | None = None,
        account: int | None = None,
    ) -> None:
        """Start ``command`` and return when ``ready()`` is true."""
        with self.log.open("ab") as log:
            popen: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(env) if env is not None else None,
                start_new_session=True,  # Ctrl-C at the terminal is for pytest, which then stops the server
                user=account,
                group=account,
                extra_groups=[] if account is not None else None,
            )
        self._popen = popen
        self._heir = subprocess.Popen(
            ["/bin/sh", "-c", _HEIR, str(popen.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _known.update((popen.pid, self._heir.pid))
        deadline = time.monotonic() + _READY
        while not ready():
            if popen.poll() is not None:
                self._forget()
                raise ServiceMissing(f"{command[0]} ended at start: {self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceMissing(f"{command[0]} did not answer within {_READY:.0f} s: {self.tail()}")
            time.sleep(0.01)

    def tail(self) -> str:
        """Return the last line that the server printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def send(self, signum: signal.Signals) -> None:
        """Send ``signum`` to the server and all its children."""
        for member in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signum)

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout: float = 10.0) -> None:
        """End the server in order; SIGKILL when it does not go within ``timeout`` seconds."""
        if self._popen is None:
            return
        self.send(signal.SIGCONT)
        self._popen.send_signal(signum)
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def kill(self) -> None:
        """End the server and its children with SIGKILL, and return when they are gone."""
        if self._popen is None:
            return
        family = self._family()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self._popen.wait()
        _wait_gone(family)
        self._forget()

    def _family(self) -> list[psutil.Process]:
        try:
            head = psutil.Process(self.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _forget(self) -> None:
        if self._heir is not None:
            self._heir.communicate(b"ended\n")
            _known.discard(self._heir.pid)
            self._heir = None
        if self._popen is not None:
            _known.discard(self._popen.pid)
            self._popen = None


def _wait_gone(family: Sequence[psutil.Process]) -> None:
    def alive(process: psutil.Process) -> bool:
        try:
            # Orphans are init's to reap, which can take seconds: a zombie holds nothing any more.
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    deadline = time.monotonic() + _READY
    while any(alive(process) for process in family):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes survive SIGKILL: {family}")
        time.sleep(0.005)


def leftovers(before: frozenset[int]) -> list[str]:
    """Return what runs as a child of this process, beyond ``before`` and the servers, as ``pid name`` lines."""
    found: list[str] = []
    for pid in children() - before - _known:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{pid} {' '.join(process.cmdline())[:120]}")
    return found


def children() -> frozenset[int]:
    """Return the process ids of the direct children of this process (one small file per thread: cheap)."""

    def listed() -> Iterator[int]:
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())

    if Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return frozenset(listed())
    return frozenset(child.pid for child in psutil.Process().children())
